-- test: one process writes it, another runs it
INSERT INTO syscalls (observed_at, syscall, pid, process_key, comm, uid, euid, result, error, path, other_path, flags) VALUES
  ('12:00:00.100', 'SYSCALL_OPENAT', 101, 1011, 'curl', 1000, 1000, 3, '', '/tmp/x', '', 'O_WRONLY|O_CREAT|O_TRUNC'),
  ('12:00:03.300', 'SYSCALL_EXECVE', 102, 1021, 'bash', 1000, 1000, 0, '', '/tmp/x', '', '');
-- advance: 5m
SELECT detection, entity, time, severity, technique FROM alerts ORDER BY time, entity;
-- | detection       | entity | time                    | severity | technique |
-- |-----------------|--------|-------------------------|----------|-----------|
-- | dropped_and_run | /tmp/x | 2026-01-01 12:00:03.300 | HIGH     | T1105     |

-- test: it is renamed there first
INSERT INTO syscalls (observed_at, syscall, pid, process_key, comm, uid, euid, result, error, path, other_path, flags) VALUES
  ('12:02:00.100', 'SYSCALL_RENAMEAT2', 103, 1031, 'mv', 1000, 1000, 0, '', '/home/u/x', '/dev/shm/.x', ''),
  ('12:02:03.300', 'SYSCALL_EXECVE', 104, 1041, 'bash', 1000, 1000, 0, '', '/dev/shm/.x', '', '');
-- advance: 5m
SELECT detection, entity, time, severity, technique FROM alerts ORDER BY time, entity;
-- | detection       | entity      | time                    | severity | technique |
-- |-----------------|-------------|-------------------------|----------|-----------|
-- | dropped_and_run | /dev/shm/.x | 2026-01-01 12:02:03.300 | HIGH     | T1105     |

-- test: it is run two minutes later, and another is only read
INSERT INTO syscalls (observed_at, syscall, pid, process_key, comm, uid, euid, result, error, path, other_path, flags) VALUES
  ('12:04:00.100', 'SYSCALL_OPENAT', 105, 1051, 'curl', 1000, 1000, 3, '', '/tmp/y', '', 'O_WRONLY|O_CREAT'),
  ('12:06:03.300', 'SYSCALL_EXECVE', 106, 1061, 'bash', 1000, 1000, 0, '', '/tmp/y', '', ''),
  ('12:05:00.100', 'SYSCALL_OPENAT', 105, 1051, 'cat', 1000, 1000, 3, '', '/tmp/z', '', 'O_RDONLY'),
  ('12:05:01.300', 'SYSCALL_EXECVE', 106, 1061, 'bash', 1000, 1000, 0, '', '/tmp/z', '', '');
-- advance: 5m
SELECT detection, entity, time, severity, technique FROM alerts ORDER BY time, entity;
-- | detection | entity | time | severity | technique |
-- |-----------|--------|------|----------|-----------|

-- test: a build writes and runs its programs at home, and a compiler its temporary files in /tmp
INSERT INTO syscalls (observed_at, syscall, pid, process_key, comm, uid, euid, result, error, path, other_path, flags) VALUES
  ('12:08:00.100', 'SYSCALL_OPENAT', 107, 1071, 'ld', 1000, 1000, 3, '', '/home/u/a.out', '', 'O_RDWR|O_CREAT|O_TRUNC'),
  ('12:08:01.300', 'SYSCALL_EXECVE', 108, 1081, 'make', 1000, 1000, 0, '', '/home/u/a.out', '', ''),
  ('12:08:02.300', 'SYSCALL_OPENAT', 109, 1091, 'cc1', 1000, 1000, 3, '', '/tmp/ccXa.s', '', 'O_RDWR|O_CREAT|O_EXCL');
-- advance: 5m
SELECT detection, entity, time, severity, technique FROM alerts ORDER BY time, entity;
-- | detection | entity | time | severity | technique |
-- |-----------|--------|------|----------|-----------|
