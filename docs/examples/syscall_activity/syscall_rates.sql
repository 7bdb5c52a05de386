-- How busy each process was with each of its system calls in the last ten seconds, every second: how often, how often in vain, how long a
-- call took on the average, and below which time 99 of 100 calls were. An agent tells the durations of a call as a histogram of powers of
-- two; here they are in steps of four, so that the time told is at most four times the true one.
CREATE VIEW syscall_latency AS
SELECT host_id, pid, process_key, comm, syscall,
       hop(observed_at, INTERVAL '1 second', INTERVAL '10 seconds')          AS win,
       sum(count)                                                            AS calls,
       sum(errors)                                                           AS errors,
       sum(total_duration_ns)                                                AS duration_ns,
       -- h10: calls below 2^10 ns (1 us); h12: those below 2^12 ns that are in none before it; and so on. h38 has no bound.
       sum(latency_counts[1] + latency_counts[2] + latency_counts[3] + latency_counts[4]) AS h10,
       sum(latency_counts[5] + latency_counts[6]) AS h12,
       sum(latency_counts[7] + latency_counts[8]) AS h14,
       sum(latency_counts[9] + latency_counts[10]) AS h16,
       sum(latency_counts[11] + latency_counts[12]) AS h18,
       sum(latency_counts[13] + latency_counts[14]) AS h20,
       sum(latency_counts[15] + latency_counts[16]) AS h22,
       sum(latency_counts[17] + latency_counts[18]) AS h24,
       sum(latency_counts[19] + latency_counts[20]) AS h26,
       sum(latency_counts[21] + latency_counts[22]) AS h28,
       sum(latency_counts[23] + latency_counts[24]) AS h30,
       sum(latency_counts[25] + latency_counts[26]) AS h32,
       sum(latency_counts[27] + latency_counts[28]) AS h34,
       sum(latency_counts[29] + latency_counts[30]) AS h36,
       sum(latency_counts[31] + latency_counts[32]) AS h38
FROM syscall_activity
GROUP BY host_id, pid, process_key, comm, syscall, win;

CREATE VIEW syscall_rates AS
SELECT host_id, pid, process_key, comm, syscall, win, calls, errors,
       calls / 10.0                                AS calls_per_second,
       errors * 1.0 / calls                        AS error_rate,
       duration_ns / 1000.0 / calls                AS mean_us,
       CASE
         WHEN h10 >= calls * 0.99 THEN 1024
         WHEN h10 + h12 >= calls * 0.99 THEN 4096
         WHEN h10 + h12 + h14 >= calls * 0.99 THEN 16384
         WHEN h10 + h12 + h14 + h16 >= calls * 0.99 THEN 65536
         WHEN h10 + h12 + h14 + h16 + h18 >= calls * 0.99 THEN 262144
         WHEN h10 + h12 + h14 + h16 + h18 + h20 >= calls * 0.99 THEN 1048576
         WHEN h10 + h12 + h14 + h16 + h18 + h20 + h22 >= calls * 0.99 THEN 4194304
         WHEN h10 + h12 + h14 + h16 + h18 + h20 + h22 + h24 >= calls * 0.99 THEN 16777216
         WHEN h10 + h12 + h14 + h16 + h18 + h20 + h22 + h24 + h26 >= calls * 0.99 THEN 67108864
         WHEN h10 + h12 + h14 + h16 + h18 + h20 + h22 + h24 + h26 + h28 >= calls * 0.99 THEN 268435456
         WHEN h10 + h12 + h14 + h16 + h18 + h20 + h22 + h24 + h26 + h28 + h30 >= calls * 0.99 THEN 1073741824
         WHEN h10 + h12 + h14 + h16 + h18 + h20 + h22 + h24 + h26 + h28 + h30 + h32 >= calls * 0.99 THEN 4294967296
         WHEN h10 + h12 + h14 + h16 + h18 + h20 + h22 + h24 + h26 + h28 + h30 + h32 + h34 >= calls * 0.99 THEN 17179869184
         WHEN h10 + h12 + h14 + h16 + h18 + h20 + h22 + h24 + h26 + h28 + h30 + h32 + h34 + h36 >= calls * 0.99 THEN 68719476736
       END                                         AS p99_below_ns
FROM syscall_latency;
