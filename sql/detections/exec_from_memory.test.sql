-- test: a program in the shared memory folder
INSERT INTO processes (observed_at, kind, pid, comm, exe, exe_fs_type, uid, euid, parent_pid, parent_comm, parent_euid) VALUES
  ('12:00:00.100', 'PROCESS_EVENT_KIND_EXEC', 81, 'x', '/dev/shm/.cache/x', 'tmpfs', 1000, 1000, 70, 'bash', 1000);
-- advance: 5m
SELECT detection, entity, time, severity, confidence, technique, title, features['execs'] AS execs,
       features['euid'] AS euid
FROM alerts ORDER BY detection, time;
-- | detection        | entity                   | time                    | severity | confidence | technique | title                                                             | execs | euid   |
-- |------------------|--------------------------|-------------------------|----------|------------|-----------|-------------------------------------------------------------------|-------|--------|
-- | exec_from_memory | pid 81 /dev/shm/.cache/x | 2026-01-01 12:00:00.100 | CRITICAL | 0.9        | T1036.005 | a program was run out of a memory-backed or world-writable folder | 1.0   | 1000.0 |

-- test: a program that never was a file
INSERT INTO processes (observed_at, kind, pid, comm, exe, exe_fs_type, uid, euid, parent_pid, parent_comm, parent_euid) VALUES
  ('12:00:00.300', 'PROCESS_EVENT_KIND_EXEC', 82, 'loader', '/memfd:loader', 'memfd', 1000, 1000, 70, 'bash', 1000);
-- advance: 5m
SELECT detection, entity, time, severity, confidence FROM alerts ORDER BY detection, time;
-- | detection        | entity               | time                    | severity | confidence |
-- |------------------|----------------------|-------------------------|----------|------------|
-- | exec_from_memory | pid 82 /memfd:loader | 2026-01-01 12:00:00.300 | CRITICAL | 0.9        |

-- test: programs out of folders that everybody may write to
INSERT INTO processes (observed_at, kind, pid, comm, exe, exe_fs_type, uid, euid, parent_pid, parent_comm, parent_euid) VALUES
  ('12:00:00.100', 'PROCESS_EVENT_KIND_EXEC', 83, 'a', '/tmp/a', 'ext4', 1000, 1000, 70, 'bash', 1000),
  ('12:00:01.100', 'PROCESS_EVENT_KIND_EXEC', 84, 'b', '/var/tmp/b', 'ext4', 1000, 1000, 70, 'bash', 1000);
-- advance: 5m
SELECT detection, entity, time, severity, confidence FROM alerts ORDER BY detection, time;
-- | detection        | entity            | time                    | severity | confidence |
-- |------------------|-------------------|-------------------------|----------|------------|
-- | exec_from_memory | pid 83 /tmp/a     | 2026-01-01 12:00:00.100 | HIGH     | 0.6        |
-- | exec_from_memory | pid 84 /var/tmp/b | 2026-01-01 12:00:01.100 | HIGH     | 0.6        |

-- test: the same process runs it twice within a second
INSERT INTO processes (observed_at, kind, pid, comm, exe, exe_fs_type, uid, euid, parent_pid, parent_comm, parent_euid) VALUES
  ('12:00:00.100', 'PROCESS_EVENT_KIND_EXEC', 85, 'a', '/tmp/a', 'ext4', 1000, 1000, 70, 'bash', 1000),
  ('12:00:00.400', 'PROCESS_EVENT_KIND_EXEC', 85, 'a', '/tmp/a', 'ext4', 1000, 1000, 70, 'bash', 1000);
-- advance: 5m
SELECT detection, entity, time, severity, confidence, features['execs'] AS execs FROM alerts ORDER BY detection, time;
-- | detection        | entity        | time                    | severity | confidence | execs |
-- |------------------|---------------|-------------------------|----------|------------|-------|
-- | exec_from_memory | pid 85 /tmp/a | 2026-01-01 12:00:00.400 | HIGH     | 0.6        | 2.0   |

-- test: container runtimes run from a sealed copy of themselves
INSERT INTO processes (observed_at, kind, pid, comm, exe, exe_fs_type, uid, euid, parent_pid, parent_comm, parent_euid) VALUES
  ('12:00:00.100', 'PROCESS_EVENT_KIND_EXEC', 86, 'runc', '/memfd:runc_cloned:/proc/self/exe', 'memfd', 1000, 1000, 70, 'bash', 1000),
  ('12:00:00.200', 'PROCESS_EVENT_KIND_EXEC', 87, '5', '/memfd:sealed-runc', 'memfd', 1000, 1000, 70, 'bash', 1000);
-- advance: 5m
SELECT detection, entity, time FROM alerts ORDER BY detection, time;
-- | detection | entity | time |
-- |-----------|--------|------|

-- test: folders that are only named alike, and a program on another memory-backed folder
INSERT INTO processes (observed_at, kind, pid, comm, exe, exe_fs_type, uid, euid, parent_pid, parent_comm, parent_euid) VALUES
  ('12:00:00.100', 'PROCESS_EVENT_KIND_EXEC', 88, 'tool', '/tmpfiles/tool', 'ext4', 1000, 1000, 70, 'bash', 1000),
  ('12:00:00.200', 'PROCESS_EVENT_KIND_EXEC', 89, 'a', '/opt/dev/shm/a', 'ext4', 1000, 1000, 70, 'bash', 1000),
  ('12:00:00.300', 'PROCESS_EVENT_KIND_EXEC', 90, 'agent', '/run/agent/bin/agent', 'tmpfs', 1000, 1000, 70, 'bash', 1000);
-- advance: 5m
SELECT detection, entity, time FROM alerts ORDER BY detection, time;
-- | detection | entity | time |
-- |-----------|--------|------|

-- test: a snapshot and an exit of what was started before
INSERT INTO processes (observed_at, kind, pid, comm, exe, exe_fs_type, uid, euid, parent_pid, parent_comm, parent_euid) VALUES
  ('12:00:00.100', 'PROCESS_EVENT_KIND_SNAPSHOT', 91, 'a', '/tmp/a', 'ext4', 1000, 1000, 70, 'bash', 1000),
  ('12:00:00.900', 'PROCESS_EVENT_KIND_EXIT', 91, 'a', '/tmp/a', 'ext4', 1000, 1000, 70, 'bash', 1000);
-- advance: 5m
SELECT detection, entity, time FROM alerts ORDER BY detection, time;
-- | detection | entity | time |
-- |-----------|--------|------|

-- test: an installed program goes on in a copy of itself, by whatever name, and crun in one that was gone before it was read
INSERT INTO processes (observed_at, kind, pid, process_key, comm, exe, exe_fs_type, exe_sha256, package, uid, euid, parent_pid, parent_comm, parent_euid) VALUES
  ('12:00:00.100', 'PROCESS_EVENT_KIND_EXEC', 92, 921, 'runtime', '/usr/bin/runtime', 'ext4', 'aa', 'runtime', 0, 0, 70, 'sh', 0),
  ('12:00:00.200', 'PROCESS_EVENT_KIND_EXEC', 92, 921, '3', '/memfd:copy', 'memfd', 'aa', '', 0, 0, 70, 'sh', 0),
  ('12:00:00.300', 'PROCESS_EVENT_KIND_EXEC', 93, 931, 'crun', '/usr/bin/crun', 'ext4', 'cc', '', 0, 0, 70, 'sh', 0),
  ('12:00:00.400', 'PROCESS_EVENT_KIND_EXEC', 93, 931, '3', '/memfd:crun_cloned:/proc/self/exe', 'memfd', '', '', 0, 0, 70, 'sh', 0);
-- advance: 5m
SELECT detection, entity, time FROM alerts ORDER BY detection, time;
-- | detection | entity | time |
-- |-----------|--------|------|

-- test: an installed program goes on as another, one that nobody installed in a copy of itself, and a name without the program
INSERT INTO processes (observed_at, kind, pid, process_key, comm, exe, exe_fs_type, exe_sha256, package, uid, euid, parent_pid, parent_comm, parent_euid) VALUES
  ('12:01:00.100', 'PROCESS_EVENT_KIND_EXEC', 94, 941, 'python3', '/usr/bin/python3.11', 'ext4', 'aa', 'python3.11-minimal', 0, 0, 70, 'sh', 0),
  ('12:01:00.200', 'PROCESS_EVENT_KIND_EXEC', 94, 941, '3', '/memfd:copy', 'memfd', 'bb', '', 0, 0, 70, 'sh', 0),
  ('12:01:00.300', 'PROCESS_EVENT_KIND_EXEC', 95, 951, 'x', '/home/u/x', 'ext4', 'dd', '', 0, 0, 70, 'sh', 0),
  ('12:01:00.400', 'PROCESS_EVENT_KIND_EXEC', 95, 951, '3', '/memfd:x', 'memfd', 'dd', '', 0, 0, 70, 'sh', 0),
  ('12:01:00.500', 'PROCESS_EVENT_KIND_EXEC', 96, 961, 'python3', '/usr/bin/python3.11', 'ext4', 'aa', 'python3.11-minimal', 0, 0, 70, 'sh', 0),
  ('12:01:00.600', 'PROCESS_EVENT_KIND_EXEC', 96, 961, '3', '/memfd:crun_cloned:/proc/self/exe', 'memfd', '', '', 0, 0, 70, 'sh', 0),
  ('12:01:00.700', 'PROCESS_EVENT_KIND_EXEC', 97, 971, 'bash', '/usr/bin/bash', 'ext4', 'ee', 'bash', 0, 0, 70, 'sh', 0),
  ('12:01:00.800', 'PROCESS_EVENT_KIND_EXEC', 97, 971, 'x', '/tmp/x', 'ext4', 'ee', '', 0, 0, 70, 'sh', 0);
-- advance: 5m
SELECT entity, time, confidence FROM alerts ORDER BY entity, time;
-- | entity                                   | time                    | confidence |
-- |------------------------------------------|-------------------------|------------|
-- | pid 94 /memfd:copy                       | 2026-01-01 12:01:00.200 | 0.9        |
-- | pid 95 /memfd:x                          | 2026-01-01 12:01:00.400 | 0.9        |
-- | pid 96 /memfd:crun_cloned:/proc/self/exe | 2026-01-01 12:01:00.600 | 0.9        |
-- | pid 97 /tmp/x                            | 2026-01-01 12:01:00.800 | 0.6        |
