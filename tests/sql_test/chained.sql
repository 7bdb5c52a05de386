-- A stream that an INSERT of the same files fills.
CREATE EXTERNAL TABLE failures (at TIMESTAMP, host TEXT, attempts BIGINT) STORED AS JSON LOCATION 'acme.failures'
OPTIONS (event_time 'at', lateness '1s', idle '5s', partition_key 'host');
INSERT INTO failures SELECT at, host, attempts FROM logins WHERE attempts > 1;

CREATE VIEW failing AS
SELECT host, tumble(at, INTERVAL '10 seconds') AS win, sum(attempts) AS attempts FROM failures GROUP BY host, win;
CREATE EXTERNAL TABLE out_failing (host TEXT, attempts BIGINT) STORED AS JSON LOCATION 'out.failing';
INSERT INTO out_failing SELECT host, attempts FROM failing WHERE attempts > 5;
