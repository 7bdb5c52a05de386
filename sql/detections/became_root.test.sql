-- test: its calls are a user's, and then root's
INSERT INTO syscalls (observed_at, syscall, pid, process_key, comm, uid, euid, result, error, path) VALUES
  ('12:00:00.100', 'SYSCALL_CONNECT', 141, 1411, 'exploit', 1000, 1000, 0, '', ''),
  ('12:00:00.300', 'SYSCALL_IO_URING_SETUP', 141, 1411, 'exploit', 1000, 1000, 3, '', ''),
  ('12:00:01.300', 'SYSCALL_CONNECT', 141, 1411, 'exploit', 1000, 0, 0, '', '');
-- advance: 5m
SELECT detection, entity, time, severity, technique FROM alerts ORDER BY time, entity;
-- | detection   | entity                         | time                    | severity | technique |
-- |-------------|--------------------------------|-------------------------|----------|-----------|
-- | became_root | exploit (pid 141) of user 1000 | 2026-01-01 12:00:01.300 | CRITICAL | T1068     |

-- test: it was root before
INSERT INTO syscalls (observed_at, syscall, pid, process_key, comm, uid, euid, result, error, path) VALUES
  ('12:01:00.100', 'SYSCALL_CONNECT', 142, 1421, 'daemon', 1000, 0, 0, '', ''),
  ('12:01:00.200', 'SYSCALL_CONNECT', 142, 1421, 'daemon', 1000, 1000, 0, '', ''),
  ('12:01:00.300', 'SYSCALL_CONNECT', 142, 1421, 'daemon', 1000, 0, 0, '', '');
-- advance: 5m
SELECT detection, entity, time, severity, technique FROM alerts ORDER BY time, entity;
-- | detection | entity | time | severity | technique |
-- |-----------|--------|------|----------|-----------|

-- test: a user's shell becomes sudo, which is root
INSERT INTO syscalls (observed_at, syscall, pid, process_key, comm, uid, euid, result, error, path) VALUES
  ('12:02:00.100', 'SYSCALL_CONNECT', 143, 1431, 'bash', 1000, 1000, 0, '', ''),
  ('12:02:00.300', 'SYSCALL_EXECVE', 143, 1431, 'bash', 1000, 0, 0, '', '/usr/bin/sudo'),
  ('12:02:00.400', 'SYSCALL_CONNECT', 143, 1431, 'sudo', 1000, 0, 0, '', '');
-- advance: 5m
SELECT detection, entity, time, severity, technique FROM alerts ORDER BY time, entity;
-- | detection | entity | time | severity | technique |
-- |-----------|--------|------|----------|-----------|

-- test: a service takes its rights back, as it may
INSERT INTO syscalls (observed_at, syscall, pid, process_key, comm, uid, euid, result, error, path) VALUES
  ('12:03:00.100', 'SYSCALL_CONNECT', 144, 1441, 'ftpd', 1000, 1000, 0, '', ''),
  ('12:03:00.300', 'SYSCALL_SETRESUID', 144, 1441, 'ftpd', 1000, 0, 0, '', ''),
  ('12:03:00.400', 'SYSCALL_CONNECT', 144, 1441, 'ftpd', 1000, 0, 0, '', '');
-- advance: 5m
SELECT detection, entity, time, severity, technique FROM alerts ORDER BY time, entity;
-- | detection | entity | time | severity | technique |
-- |-----------|--------|------|----------|-----------|
