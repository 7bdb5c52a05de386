-- plans
CREATE EXTERNAL TABLE features STORED AS PROTOBUF LOCATION 'amoskys.features.visits.v1';
CREATE VIEW visits AS SELECT k, session(t, INTERVAL '5 minutes', INTERVAL '1 hour') AS win, count(*) AS c FROM ev GROUP BY k, win;
INSERT INTO features SELECT k AS host_id, map(['c'], [CAST(c AS DOUBLE)]) AS features FROM visits;
