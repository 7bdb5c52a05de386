-- test: it serves a request and starts a shell
INSERT INTO syscalls (observed_at, syscall, pid, parent_pid, process_key, comm, uid, euid, result, error, path) VALUES
  ('12:00:00.100', 'SYSCALL_ACCEPT4', 121, 1, 1211, 'gunicorn', 33, 33, 5, '', ''),
  ('12:00:00.300', 'SYSCALL_EXECVE', 122, 121, 1221, 'gunicorn', 33, 33, 0, '', '/bin/sh');
-- advance: 5m
SELECT detection, entity, time, severity, technique FROM alerts ORDER BY time, entity;
-- | detection           | entity                  | time                    | severity | technique |
-- |---------------------|-------------------------|-------------------------|----------|-----------|
-- | server_starts_shell | pid 121 started /bin/sh | 2026-01-01 12:00:00.300 | HIGH     | T1505.003 |

-- test: it starts another program, and a process that serves nobody starts a shell
INSERT INTO syscalls (observed_at, syscall, pid, parent_pid, process_key, comm, uid, euid, result, error, path) VALUES
  ('12:01:00.100', 'SYSCALL_ACCEPT4', 123, 1, 1231, 'nginx', 33, 33, 5, '', ''),
  ('12:01:00.300', 'SYSCALL_EXECVE', 124, 123, 1241, 'nginx', 33, 33, 0, '', '/usr/bin/convert'),
  ('12:01:00.300', 'SYSCALL_EXECVE', 126, 125, 1261, 'make', 33, 33, 0, '', '/bin/sh');
-- advance: 5m
SELECT detection, entity, time, severity, technique FROM alerts ORDER BY time, entity;
-- | detection | entity | time | severity | technique |
-- |-----------|--------|------|----------|-----------|

-- test: its shell came first, as at its start
INSERT INTO syscalls (observed_at, syscall, pid, parent_pid, process_key, comm, uid, euid, result, error, path) VALUES
  ('12:02:00.100', 'SYSCALL_EXECVE', 128, 127, 1281, 'apachectl', 33, 33, 0, '', '/bin/sh'),
  ('12:02:01.300', 'SYSCALL_ACCEPT4', 127, 1, 1271, 'apache2', 33, 33, 5, '', '');
-- advance: 5m
SELECT detection, entity, time, severity, technique FROM alerts ORDER BY time, entity;
-- | detection | entity | time | severity | technique |
-- |-----------|--------|------|----------|-----------|

-- test: a remote login
INSERT INTO syscalls (observed_at, syscall, pid, parent_pid, process_key, comm, uid, euid, result, error, path) VALUES
  ('12:03:00.100', 'SYSCALL_ACCEPT4', 129, 1, 1291, 'sshd', 33, 33, 5, '', ''),
  ('12:03:00.300', 'SYSCALL_EXECVE', 130, 129, 1301, 'sshd', 33, 33, 0, '', '/bin/bash');
-- advance: 5m
SELECT detection, entity, time, severity, technique FROM alerts ORDER BY time, entity;
-- | detection | entity | time | severity | technique |
-- |-----------|--------|------|----------|-----------|

-- test: a terminal multiplexer starts a shell in a terminal that it makes
INSERT INTO syscalls (observed_at, syscall, pid, parent_pid, process_key, comm, uid, euid, result, error, path) VALUES
  ('12:04:00.100', 'SYSCALL_ACCEPT', 131, 1, 1311, 'tmux: server', 1000, 1000, 5, '', ''),
  ('12:04:00.200', 'SYSCALL_OPENAT', 131, 1, 1311, 'tmux: server', 1000, 1000, 8, '', '/dev/ptmx'),
  ('12:04:00.300', 'SYSCALL_EXECVE', 132, 131, 1321, 'bash', 1000, 1000, 0, '', '/bin/bash');
-- advance: 5m
SELECT detection, entity, time, severity, technique FROM alerts ORDER BY time, entity;
-- | detection | entity | time | severity | technique |
-- |-----------|--------|------|----------|-----------|

-- test: another program that makes a terminal for it, and one that is only called so
INSERT INTO syscalls (observed_at, syscall, pid, parent_pid, process_key, comm, uid, euid, result, error, path) VALUES
  ('12:05:00.100', 'SYSCALL_ACCEPT', 133, 1, 1331, 'socat', 33, 33, 5, '', ''),
  ('12:05:00.200', 'SYSCALL_OPENAT', 133, 1, 1331, 'socat', 33, 33, 8, '', '/dev/ptmx'),
  ('12:05:00.300', 'SYSCALL_EXECVE', 134, 133, 1341, 'sh', 33, 33, 0, '', '/bin/sh'),
  ('12:05:10.100', 'SYSCALL_ACCEPT', 135, 1, 1351, 'tmux: server', 33, 33, 5, '', ''),
  ('12:05:10.300', 'SYSCALL_EXECVE', 136, 135, 1361, 'sh', 33, 33, 0, '', '/bin/sh');
-- advance: 5m
SELECT entity, time FROM alerts ORDER BY time, entity;
-- | entity                  | time                    |
-- |-------------------------|-------------------------|
-- | pid 133 started /bin/sh | 2026-01-01 12:05:00.300 |
-- | pid 135 started /bin/sh | 2026-01-01 12:05:10.300 |
