-- Flink's side: the same query as amoskys.sql, as Flink's documentation writes it (windowing table-valued functions).
-- The driver fills in what stands in braces. AVG and STDDEV of BIGINT truncate in Flink, hence the casts.
CREATE TABLE events (
    host STRING, pid INT, uid INT, comm STRING, name STRING, ret BIGINT, duration_ns BIGINT, `bytes` BIGINT,
    dst_addr STRING, dst_port INT, flags INT, event_time ROW<seconds BIGINT, nanos INT>,
    event_at AS TO_TIMESTAMP_LTZ(event_time.seconds * 1000 + event_time.nanos / 1000000, 3),
    WATERMARK FOR event_at AS event_at - INTERVAL '2' SECOND
) WITH (
    'connector' = 'kafka', 'topic' = '{topic}', 'properties.bootstrap.servers' = '{servers}',
    'scan.startup.mode' = 'earliest-offset', 'scan.bounded.mode' = 'latest-offset',
    'format' = 'protobuf', 'protobuf.message-class-name' = 'bench.Syscall$SyscallEvent'
);

CREATE TABLE findings (
    host STRING, pid INT, window_end TIMESTAMP(3), events BIGINT, starts BIGINT, connects BIGINT, opens BIGINT,
    failures BIGINT, bytes_sum BIGINT, bytes_min BIGINT, bytes_max BIGINT, bytes_avg DOUBLE, bytes_stddev DOUBLE,
    duration_sum BIGINT, duration_min BIGINT, duration_max BIGINT, duration_avg DOUBLE, duration_stddev DOUBLE,
    ret_min BIGINT, ret_max BIGINT, bytes_read BIGINT, bytes_written BIGINT, flags_max INT{distinct_columns}
) WITH (
    'connector' = 'kafka', 'topic' = '{output}', 'properties.bootstrap.servers' = '{servers}', 'format' = 'json',
    {delivery}
);

INSERT INTO findings
SELECT * FROM (
    SELECT host, pid, window_end,
           COUNT(*) AS events,
           COUNT(*) FILTER (WHERE name = 'execve') AS starts,
           COUNT(*) FILTER (WHERE name = 'connect') AS connects,
           COUNT(*) FILTER (WHERE name = 'open') AS opens,
           COUNT(*) FILTER (WHERE ret < 0) AS failures,
           SUM(`bytes`) AS bytes_sum, MIN(`bytes`) AS bytes_min, MAX(`bytes`) AS bytes_max,
           AVG(CAST(`bytes` AS DOUBLE)) AS bytes_avg, STDDEV_SAMP(CAST(`bytes` AS DOUBLE)) AS bytes_stddev,
           SUM(duration_ns) AS duration_sum, MIN(duration_ns) AS duration_min, MAX(duration_ns) AS duration_max,
           AVG(CAST(duration_ns AS DOUBLE)) AS duration_avg,
           STDDEV_SAMP(CAST(duration_ns AS DOUBLE)) AS duration_stddev,
           MIN(ret) AS ret_min, MAX(ret) AS ret_max,
           SUM(`bytes`) FILTER (WHERE name = 'read') AS bytes_read,
           SUM(`bytes`) FILTER (WHERE name = 'write') AS bytes_written,
           MAX(flags) AS flags_max{distinct}
    FROM TABLE(HOP(TABLE events, DESCRIPTOR(event_at), INTERVAL '1' SECOND, INTERVAL '{size_s}' SECOND(4)))
    GROUP BY window_start, window_end, host, pid
) WHERE {keep};
