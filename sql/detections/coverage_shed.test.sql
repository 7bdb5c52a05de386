-- test: more parents in a second than are kept
CREATE EXTERNAL TABLE processes STORED AS ENVELOPE LOCATION 'amoskys.telemetry.process.v1'
OPTIONS (event_time 'observed_at', lateness '2s', keys_max '3', idle '3s', partition_key 'host_id');
INSERT INTO processes (observed_at, kind, pid, comm, exe, exe_fs_type, uid, euid, parent_pid, parent_comm, parent_euid) VALUES
  ('12:00:00.100', 'PROCESS_EVENT_KIND_EXEC', 81, 'true', '/usr/bin/true', 'ext4', 1000, 1000, 71, 'bash', 1000),
  ('12:00:00.200', 'PROCESS_EVENT_KIND_EXEC', 82, 'true', '/usr/bin/true', 'ext4', 1000, 1000, 72, 'bash', 1000),
  ('12:00:00.300', 'PROCESS_EVENT_KIND_EXEC', 83, 'true', '/usr/bin/true', 'ext4', 1000, 1000, 73, 'bash', 1000),
  ('12:00:00.400', 'PROCESS_EVENT_KIND_EXEC', 84, 'true', '/usr/bin/true', 'ext4', 1000, 1000, 74, 'bash', 1000),
  ('12:00:00.500', 'PROCESS_EVENT_KIND_EXEC', 85, 'true', '/usr/bin/true', 'ext4', 1000, 1000, 75, 'bash', 1000);
-- advance: 5m
SELECT detection, entity, time, severity, confidence, technique, title, features['shed_rows_most'] AS shed_rows_most
FROM alerts ORDER BY detection, time;
-- | detection     | entity           | time                    | severity | confidence | technique | title                                                        | shed_rows_most |
-- |---------------|------------------|-------------------------|----------|------------|-----------|--------------------------------------------------------------|----------------|
-- | coverage_shed | process_activity | 2026-01-01 12:00:00.300 | MEDIUM   | 0.5        | T1562.006 | the processor left telemetry out because a bound was reached | 2.0            |

-- test: as many parents as are kept, and some of them again
CREATE EXTERNAL TABLE processes STORED AS ENVELOPE LOCATION 'amoskys.telemetry.process.v1'
OPTIONS (event_time 'observed_at', lateness '2s', keys_max '3', idle '3s', partition_key 'host_id');
INSERT INTO processes (observed_at, kind, pid, comm, exe, exe_fs_type, uid, euid, parent_pid, parent_comm, parent_euid) VALUES
  ('12:03:00.100', 'PROCESS_EVENT_KIND_EXEC', 81, 'true', '/usr/bin/true', 'ext4', 1000, 1000, 71, 'bash', 1000),
  ('12:03:00.200', 'PROCESS_EVENT_KIND_EXEC', 82, 'true', '/usr/bin/true', 'ext4', 1000, 1000, 72, 'bash', 1000),
  ('12:03:00.300', 'PROCESS_EVENT_KIND_EXEC', 83, 'true', '/usr/bin/true', 'ext4', 1000, 1000, 70, 'bash', 1000),
  ('12:03:00.400', 'PROCESS_EVENT_KIND_EXEC', 84, 'true', '/usr/bin/true', 'ext4', 1000, 1000, 71, 'bash', 1000),
  ('12:03:00.500', 'PROCESS_EVENT_KIND_EXEC', 85, 'true', '/usr/bin/true', 'ext4', 1000, 1000, 72, 'bash', 1000);
-- advance: 5m
SELECT detection, entity, time FROM alerts ORDER BY detection, time;
-- | detection | entity | time |
-- |-----------|--------|------|

-- test: a build that starts many programs in a moment, below few parents, leaves nothing out
CREATE EXTERNAL TABLE processes STORED AS ENVELOPE LOCATION 'amoskys.telemetry.process.v1'
OPTIONS (event_time 'observed_at', lateness '2s', keys_max '3', idle '3s', partition_key 'host_id');
INSERT INTO processes (observed_at, kind, pid, comm, exe, exe_fs_type, uid, euid, parent_pid, parent_comm, parent_euid)
SELECT concat('12:06:00.', lpad(100 + 10 * n, 3, '0')), 'PROCESS_EVENT_KIND_EXEC', 1000 + n, 'cc1', '/usr/lib/gcc/cc1', 'ext4',
       1000, 1000 AS euid, 71 + n % 2, 'make', 1000 AS parent_euid
FROM (VALUES (0), (1), (2), (3), (4), (5), (6), (7), (8), (9), (10), (11), (12), (13), (14), (15), (16), (17), (18), (19)) AS starts (n);
-- advance: 5m
SELECT detection, entity, time FROM alerts ORDER BY detection, time;
-- | detection | entity | time |
-- |-----------|--------|------|
SELECT max(execs) AS execs, max(shed) AS shed FROM process_activity;
-- | execs | shed |
-- |-------|------|
-- | 10    | 0    |
