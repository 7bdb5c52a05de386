-- test: a program of root reads the hashes
INSERT INTO syscalls (observed_at, syscall, pid, process_key, comm, uid, euid, result, error, path, flags) VALUES
  ('12:00:00.100', 'SYSCALL_OPENAT', 161, 1611, 'cat', 0, 0, 3, '', '/etc/shadow', 'O_RDONLY');
-- advance: 5m
SELECT detection, entity, time, severity, technique FROM alerts ORDER BY time, entity;
-- | detection        | entity                         | time                    | severity | technique |
-- |------------------|--------------------------------|-------------------------|----------|-----------|
-- | credentials_read | cat (pid 161) read /etc/shadow | 2026-01-01 12:00:00.100 | HIGH     | T1003.008 |

-- test: it may not, or looks at another file
INSERT INTO syscalls (observed_at, syscall, pid, process_key, comm, uid, euid, result, error, path, flags) VALUES
  ('12:01:00.100', 'SYSCALL_OPENAT', 162, 1621, 'cat', 1000, 1000, -13, 'EACCES', '/etc/shadow', 'O_RDONLY'),
  ('12:01:00.200', 'SYSCALL_OPENAT', 162, 1621, 'cat', 1000, 1000, 3, '', '/etc/passwd', 'O_RDONLY');
-- advance: 5m
SELECT detection, entity, time, severity, technique FROM alerts ORDER BY time, entity;
-- | detection | entity | time | severity | technique |
-- |-----------|--------|------|----------|-----------|

-- test: somebody logs in
INSERT INTO syscalls (observed_at, syscall, pid, process_key, comm, uid, euid, result, error, path, flags) VALUES
  ('12:02:00.100', 'SYSCALL_OPENAT', 163, 1631, 'sshd', 0, 0, 3, '', '/etc/shadow', 'O_RDONLY|O_CLOEXEC'),
  ('12:02:00.200', 'SYSCALL_OPENAT', 164, 1641, 'sudo', 0, 0, 3, '', '/etc/shadow', 'O_RDONLY|O_CLOEXEC');
-- advance: 5m
SELECT detection, entity, time, severity, technique FROM alerts ORDER BY time, entity;
-- | detection | entity | time | severity | technique |
-- |-----------|--------|------|----------|-----------|
