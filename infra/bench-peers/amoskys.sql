-- Amoskys' side: query A of docs/benchmarks.md. The driver fills in what stands in braces. Keep it in step with flink.sql.
CREATE EXTERNAL TABLE events STORED AS {format} LOCATION '{topic}'
OPTIONS (message '{message}', event_time 'event_time', lateness '2s', replay_max '1h', partition_key 'host');

CREATE EXTERNAL TABLE findings (
    host VARCHAR, pid BIGINT, window_end TIMESTAMP, events BIGINT, starts BIGINT, connects BIGINT, opens BIGINT,
    failures BIGINT, bytes_sum BIGINT, bytes_min BIGINT, bytes_max BIGINT, bytes_avg DOUBLE, bytes_stddev DOUBLE,
    duration_sum BIGINT, duration_min BIGINT, duration_max BIGINT, duration_avg DOUBLE, duration_stddev DOUBLE,
    ret_min BIGINT, ret_max BIGINT, bytes_read BIGINT, bytes_written BIGINT, flags_max BIGINT{distinct_columns}
) STORED AS {sink} LOCATION '{output}' OPTIONS (partition_key 'host');

CREATE VIEW per_process AS
SELECT host, pid, hop(event_time, INTERVAL '1 second', INTERVAL '{size_s} seconds') AS win,
       count(*) AS events,
       count(*) FILTER (WHERE name = 'execve') AS starts,
       count(*) FILTER (WHERE name = 'connect') AS connects,
       count(*) FILTER (WHERE name = 'open') AS opens,
       count(*) FILTER (WHERE ret < 0) AS failures,
       sum(bytes) AS bytes_sum, min(bytes) AS bytes_min, max(bytes) AS bytes_max,
       avg(bytes) AS bytes_avg, stddev(bytes) AS bytes_stddev,
       sum(duration_ns) AS duration_sum, min(duration_ns) AS duration_min, max(duration_ns) AS duration_max,
       avg(duration_ns) AS duration_avg,
       stddev(duration_ns) AS duration_stddev,
       min(ret) AS ret_min, max(ret) AS ret_max,
       sum(bytes) FILTER (WHERE name = 'read') AS bytes_read,
       sum(bytes) FILTER (WHERE name = 'write') AS bytes_written,
       max(flags) AS flags_max{distinct}
FROM events GROUP BY host, pid, win;

INSERT INTO findings
SELECT * EXCEPT (win), win.end AS window_end FROM per_process WHERE {keep};
