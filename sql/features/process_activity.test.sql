-- test: what the children of a process did is counted in each of the ten windows that they are in
INSERT INTO processes (observed_at, kind, pid, comm, exe, exe_fs_type, euid, parent_pid, parent_comm, lifetime_us, exit_code)
VALUES
  ('12:00:00.100', 'PROCESS_EVENT_KIND_FORK', 11, 'sh', '/bin/sh', 'ext4', 0, 7, 'sh', 0, 0),
  ('12:00:00.200', 'PROCESS_EVENT_KIND_EXEC', 11, 'id', '/usr/bin/id', 'ext4', 0, 7, 'sh', 0, 0),
  ('12:00:00.300', 'PROCESS_EVENT_KIND_EXIT', 11, 'id', '/usr/bin/id', 'ext4', 0, 7, 'sh', 5000, 0),
  ('12:00:02.000', 'PROCESS_EVENT_KIND_EXEC', 12, 'x', '/dev/shm/x', 'tmpfs', 1000, 7, 'sh', 0, 0),
  ('12:00:02.500', 'PROCESS_EVENT_KIND_EXIT', 12, 'x', '/dev/shm/x', 'tmpfs', 1000, 7, 'sh', 2000000, 1),
  ('12:00:02.600', 'PROCESS_EVENT_KIND_EXEC', 13, 'id', '/usr/bin/id', 'ext4', 1000, 8, 'bash', 0, 0);
-- advance: 1m
SELECT parent_pid, events, forks, execs, exits, distinct_comm, discovery_execs, root_execs, tmpfs_execs, short_lived,
       failed_exits, mean_lifetime_us, min_lifetime_us
FROM process_activity WHERE win.end = TIMESTAMP '2026-01-01 12:00:03' ORDER BY parent_pid;
-- | parent_pid | events | forks | execs | exits | distinct_comm | discovery_execs | root_execs | tmpfs_execs | short_lived | failed_exits | mean_lifetime_us | min_lifetime_us |
-- |------------|--------|-------|-------|-------|---------------|-----------------|------------|-------------|-------------|--------------|------------------|-----------------|
-- | 7          | 5      | 1     | 2     | 2     | 2             | 1               | 1          | 1           | 1           | 1            | 1002500.0        | 5000            |
-- | 8          | 1      | 0     | 1     | 0     | 1             | 1               | 0          | 0           | 0           | 0            | 0.0              | 0               |
SELECT parent_pid, min(win.start) AS first, max(win.start) AS last, count(*) AS windows, sum(events) AS events
FROM process_activity GROUP BY parent_pid ORDER BY parent_pid;
-- | parent_pid | first               | last                | windows | events |
-- |------------|---------------------|---------------------|---------|--------|
-- | 7          | 2026-01-01 11:59:51 | 2026-01-01 12:00:02 | 12      | 50     |
-- | 8          | 2026-01-01 11:59:53 | 2026-01-01 12:00:02 | 10      | 10     |
SELECT entity, count(*) AS rows, max(features['execs']) AS most_execs FROM process_features GROUP BY entity ORDER BY entity;
-- | entity | rows | most_execs |
-- |--------|------|------------|
-- | bash 8 | 10   | 1.0        |
-- | sh 7   | 12   | 2.0        |

-- test: an event within the lateness counts, and one after its windows have closed is late
INSERT INTO processes (observed_at, kind, parent_pid, parent_comm) VALUES
  ('12:00:10.0', 'PROCESS_EVENT_KIND_EXEC', 7, 'sh'),
  ('12:00:08.5', 'PROCESS_EVENT_KIND_EXEC', 7, 'sh'),
  ('12:00:12.5', 'PROCESS_EVENT_KIND_EXEC', 7, 'sh'),
  ('12:00:09.5', 'PROCESS_EVENT_KIND_EXEC', 7, 'sh');
-- advance: 1m
SELECT win.end AS end, execs FROM process_activity WHERE win.end <= TIMESTAMP '2026-01-01 12:00:11' ORDER BY win;
-- | end                 | execs |
-- |---------------------|-------|
-- | 2026-01-01 12:00:09 | 1     |
-- | 2026-01-01 12:00:10 | 1     |
-- | 2026-01-01 12:00:11 | 3     |
SELECT rows, late_rows, dropped_rows FROM counters WHERE stream = 'processes';
-- | rows | late_rows | dropped_rows |
-- |------|-----------|--------------|
-- | 4    | 1         | 0            |

-- test: snapshots of what runs are no activity
INSERT INTO processes (observed_at, kind, parent_pid, parent_comm) VALUES
  ('12:00:00', 'PROCESS_EVENT_KIND_SNAPSHOT', 7, 'sh'),
  ('12:00:01', 'PROCESS_EVENT_KIND_SNAPSHOT', 7, 'sh');
-- advance: 1m
SELECT count(*) AS windows FROM process_activity;
-- | windows |
-- |---------|
-- | 0       |
SELECT count(*) AS rows FROM process_features;
-- | rows |
-- |------|
-- | 0    |

-- test: an envelope that comes twice, and a clock that is ahead by more than the stream allows, change nothing
-- at: 12:00:00
INSERT INTO processes (sequence, _log_time, observed_at, kind, parent_pid, parent_comm) VALUES
  (1, '12:00:00', '12:00:00', 'PROCESS_EVENT_KIND_EXEC', 7, 'sh'),
  (1, '12:00:01', '12:00:00', 'PROCESS_EVENT_KIND_EXEC', 7, 'sh'),
  (2, '12:00:02', '13:00:00', 'PROCESS_EVENT_KIND_EXEC', 7, 'sh');
-- advance: 1m
SELECT DISTINCT execs FROM process_activity;
-- | execs |
-- |-------|
-- | 1     |
SELECT records, rows, duplicate_records, quarantined_rows FROM counters WHERE stream = 'processes';
-- | records | rows | duplicate_records | quarantined_rows |
-- |---------|------|-------------------|------------------|
-- | 3       | 1    | 1                 | 1                |

-- test: a processor that ends within a window, and one that takes over, compute what one would have
INSERT INTO processes (observed_at, kind, comm, parent_pid, parent_comm) VALUES
  ('12:00:00', 'PROCESS_EVENT_KIND_EXEC', 'a', 7, 'sh'),
  ('12:00:05', 'PROCESS_EVENT_KIND_EXEC', 'b', 7, 'sh');
-- restart
INSERT INTO processes (observed_at, kind, comm, parent_pid, parent_comm) VALUES
  ('12:00:06', 'PROCESS_EVENT_KIND_EXEC', 'b', 7, 'sh');
-- kill
INSERT INTO processes (observed_at, kind, comm, parent_pid, parent_comm) VALUES
  ('12:00:08', 'PROCESS_EVENT_KIND_EXEC', 'c', 7, 'sh');
-- move: partition 0
-- advance: 1m
-- kill
SELECT execs, distinct_comm, count(*) AS windows FROM process_activity GROUP BY execs, distinct_comm ORDER BY execs, distinct_comm;
-- | execs | distinct_comm | windows |
-- |-------|---------------|---------|
-- | 1     | 1             | 7       |
-- | 2     | 2             | 2       |
-- | 3     | 2             | 7       |
-- | 4     | 3             | 2       |
SELECT count(*) AS rows, count(DISTINCT window_start) AS windows FROM process_features;
-- | rows | windows |
-- |------|---------|
-- | 18   | 18      |
SELECT rows, late_rows FROM counters WHERE stream = 'processes';
-- | rows | late_rows |
-- |------|-----------|
-- | 4    | 0         |
