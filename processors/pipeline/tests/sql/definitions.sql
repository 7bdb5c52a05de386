-- What every file beside this one is planned with.
CREATE EXTERNAL TABLE ev (t TIMESTAMP, k VARCHAR, v DOUBLE, n BIGINT) STORED AS JSON LOCATION 'ev-topic'
OPTIONS (event_time 't', lateness '1s', idle '5s', partition_key 'k');
CREATE EXTERNAL TABLE other (t TIMESTAMP, k VARCHAR, v DOUBLE) STORED AS JSON LOCATION 'other-topic'
OPTIONS (event_time 't', lateness '1s', partition_key 'k');
CREATE EXTERNAL TABLE plain (t TIMESTAMP, k VARCHAR, v DOUBLE) STORED AS JSON LOCATION 'plain-topic';
CREATE EXTERNAL TABLE keyless (t TIMESTAMP, k VARCHAR, v DOUBLE) STORED AS JSON LOCATION 'keyless-topic'
OPTIONS (event_time 't', lateness '1s');
CREATE EXTERNAL TABLE owners (host VARCHAR, owner VARCHAR) STORED AS CSV LOCATION 'tests/sql/owners.csv'
OPTIONS (has_header 'true');
CREATE EXTERNAL TABLE sink (k VARCHAR NOT NULL, c BIGINT) STORED AS JSON LOCATION 'sink-topic';
CREATE EXTERNAL TABLE scores (k VARCHAR, score DOUBLE, version VARCHAR) STORED AS JSON LOCATION 'scores-topic';
CREATE EXTERNAL TABLE alerts STORED AS PROTOBUF LOCATION 'amoskys.alerts.v1';
CREATE EXTERNAL TABLE processes STORED AS ENVELOPE LOCATION 'amoskys.telemetry.process.v1'
OPTIONS (event_time 'observed_at', lateness '2s', partition_key 'host_id');
CREATE VIEW per_s AS SELECT k, tumble(t, INTERVAL '1 second') AS win, count(*) AS c, avg(v) AS a, max(v) AS b
FROM ev GROUP BY k, win;
CREATE VIEW per_2s AS SELECT k, tumble(t, INTERVAL '2 seconds') AS win, count(*) AS c FROM ev GROUP BY k, win;
CREATE VIEW others AS SELECT k, tumble(t, INTERVAL '1 second') AS win, count(*) AS c FROM other GROUP BY k, win;
