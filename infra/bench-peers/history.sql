-- Query A of docs/benchmarks.md over files. The driver fills in the size. Keep it in step with amoskys.sql.
CREATE EXTERNAL TABLE events (
    host VARCHAR, pid BIGINT, name VARCHAR, ret BIGINT, duration_ns BIGINT, bytes BIGINT, flags BIGINT,
    event_time TIMESTAMP
) STORED AS JSON LOCATION 'events' OPTIONS (event_time 'event_time', lateness '2s', partition_key 'host');

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
       max(flags) AS flags_max
FROM events GROUP BY host, pid, win;

-- Computes everything, as a filter on a sum cannot be pushed below the windows, and writes a row in 50,000.
CREATE VIEW rare AS SELECT * EXCEPT (win), win.end AS window_end FROM per_process WHERE bytes_sum % 50000 = 0;
