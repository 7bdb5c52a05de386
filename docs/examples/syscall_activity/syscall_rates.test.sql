-- test: calls, errors and durations of a process are added up over the window, call by call
INSERT INTO syscall_activity (observed_at, pid, process_key, comm, syscall, count, errors, total_duration_ns, latency_counts) VALUES
  ('12:00:00', 7, 70, 'web', 'read', 99, 0, 99000, [0, 0, 0, 99, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0]),
  ('12:00:01', 7, 70, 'web', 'read', 1, 1, 901000, [0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0]),
  ('12:00:01', 7, 70, 'web', 'openat', 4, 4, 80000000, [0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 4, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0]),
  ('12:00:01', 7, 71, 'web', 'read', 2, 0, 2000, [0, 0, 0, 1, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1]);
-- advance: 1m
SELECT process_key, syscall, calls, errors, calls_per_second, error_rate, mean_us, p99_below_ns
FROM syscall_rates WHERE win.end = TIMESTAMP '2026-01-01 12:00:05' ORDER BY process_key, syscall;
-- | process_key | syscall | calls | errors | calls_per_second | error_rate | mean_us | p99_below_ns |
-- |-------------|---------|-------|--------|------------------|------------|---------|--------------|
-- | 70          | openat  | 4     | 4      | 0.4              | 1.0        | 20000.0 | 67108864     |
-- | 70          | read    | 100   | 1      | 10.0             | 0.01       | 10.0    | 1024         |
-- | 71          | read    | 2     | 0      | 0.2              | 0.0        | 1.0     | null         |

-- test: calls that took longer than any bound have no time that they were below
INSERT INTO syscall_activity (observed_at, pid, process_key, comm, syscall, count, errors, total_duration_ns, latency_counts) VALUES
  ('12:00:00', 7, 70, 'web', 'poll', 1, 0, 200000000000, [0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1]);
-- advance: 1m
SELECT DISTINCT calls, p99_below_ns FROM syscall_rates;
-- | calls | p99_below_ns |
-- |-------|--------------|
-- | 1     | null         |
