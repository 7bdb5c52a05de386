-- plans
CREATE EXTERNAL TABLE x (t TIMESTAMP(3), k VARCHAR) STORED AS JSON LOCATION 'x' OPTIONS (event_time 't', lateness '1s', partition_key 'k');
INSERT INTO sink SELECT k, c FROM (SELECT k, tumble(t, INTERVAL '1 second') AS win, count(*) AS c FROM x GROUP BY k, win);
