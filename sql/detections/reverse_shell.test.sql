-- test: it connects to another host and becomes a shell
INSERT INTO syscalls (observed_at, syscall, pid, parent_pid, process_key, comm, uid, euid, result, error, path, address, port, address_family) VALUES
  ('12:00:00.100', 'SYSCALL_CONNECT', 71, 50, 711, 'nc', 1000, 1000, -115, 'EINPROGRESS', '', '203.0.113.9', 4444, 'inet'),
  ('12:00:00.300', 'SYSCALL_EXECVE', 71, 50, 711, 'nc', 1000, 1000, 0, '', '/bin/sh', '', 0, '');
-- advance: 5m
SELECT detection, entity, time, severity, technique FROM alerts ORDER BY time, entity;
-- | detection     | entity                                             | time                    | severity | technique |
-- |---------------|----------------------------------------------------|-------------------------|----------|-----------|
-- | reverse_shell | pid 71 connected to 203.0.113.9 and became /bin/sh | 2026-01-01 12:00:00.300 | CRITICAL | T1059.004 |

-- test: to the host itself
INSERT INTO syscalls (observed_at, syscall, pid, parent_pid, process_key, comm, uid, euid, result, error, path, address, port, address_family) VALUES
  ('12:01:00.100', 'SYSCALL_CONNECT', 72, 50, 721, 'nc', 1000, 1000, 0, '', '', '::1', 4444, 'inet6'),
  ('12:01:00.300', 'SYSCALL_EXECVE', 72, 50, 721, 'nc', 1000, 1000, 0, '', '/usr/bin/bash', '', 0, '');
-- advance: 5m
SELECT detection, entity, time, severity, technique FROM alerts ORDER BY time, entity;
-- | detection     | entity                                           | time                    | severity | technique |
-- |---------------|--------------------------------------------------|-------------------------|----------|-----------|
-- | reverse_shell | pid 72 connected to ::1 and became /usr/bin/bash | 2026-01-01 12:01:00.300 | MEDIUM   | T1059.004 |

-- test: it becomes a shell and connects then, as a script does; and another process becomes one
INSERT INTO syscalls (observed_at, syscall, pid, parent_pid, process_key, comm, uid, euid, result, error, path, address, port, address_family) VALUES
  ('12:02:00.100', 'SYSCALL_EXECVE', 73, 50, 731, 'nc', 1000, 1000, 0, '', '/bin/bash', '', 0, ''),
  ('12:02:00.300', 'SYSCALL_CONNECT', 73, 50, 731, 'nc', 1000, 1000, -115, 'EINPROGRESS', '', '203.0.113.9', 4444, 'inet'),
  ('12:02:00.400', 'SYSCALL_CONNECT', 74, 50, 741, 'nc', 1000, 1000, -115, 'EINPROGRESS', '', '203.0.113.9', 4444, 'inet'),
  ('12:02:00.500', 'SYSCALL_EXECVE', 75, 50, 751, 'nc', 1000, 1000, 0, '', '/bin/sh', '', 0, '');
-- advance: 5m
SELECT detection, entity, time, severity, technique FROM alerts ORDER BY time, entity;
-- | detection | entity | time | severity | technique |
-- |-----------|--------|------|----------|-----------|

-- test: the connection is refused, is to a socket of the host, or the shell is none
INSERT INTO syscalls (observed_at, syscall, pid, parent_pid, process_key, comm, uid, euid, result, error, path, address, port, address_family) VALUES
  ('12:03:00.100', 'SYSCALL_CONNECT', 76, 50, 761, 'nc', 1000, 1000, -111, 'ECONNREFUSED', '', '203.0.113.9', 4444, 'inet'),
  ('12:03:00.300', 'SYSCALL_EXECVE', 76, 50, 761, 'nc', 1000, 1000, 0, '', '/bin/sh', '', 0, ''),
  ('12:03:00.100', 'SYSCALL_CONNECT', 77, 50, 771, 'nc', 1000, 1000, 0, '', '', '/run/nscd/socket', 4444, 'unix'),
  ('12:03:00.300', 'SYSCALL_EXECVE', 77, 50, 771, 'nc', 1000, 1000, 0, '', '/bin/bash', '', 0, ''),
  ('12:03:00.100', 'SYSCALL_CONNECT', 78, 50, 781, 'nc', 1000, 1000, -115, 'EINPROGRESS', '', '203.0.113.9', 4444, 'inet'),
  ('12:03:00.300', 'SYSCALL_EXECVE', 78, 50, 781, 'nc', 1000, 1000, 0, '', '/usr/bin/ssh-askpass', '', 0, '');
-- advance: 5m
SELECT detection, entity, time, severity, technique FROM alerts ORDER BY time, entity;
-- | detection | entity | time | severity | technique |
-- |-----------|--------|------|----------|-----------|

-- test: ssh connects, and its child becomes a shell for a ProxyCommand
INSERT INTO syscalls (observed_at, syscall, pid, parent_pid, process_key, comm, uid, euid, result, error, path, address, port, address_family) VALUES
  ('12:04:00.100', 'SYSCALL_CONNECT', 79, 50, 791, 'ssh', 1000, 1000, 0, '', '', '203.0.113.9', 4444, 'inet'),
  ('12:04:00.050', 'SYSCALL_EXECVE', 80, 79, 801, 'ssh', 1000, 1000, 0, '', '/bin/sh', '', 0, '');
-- advance: 5m
SELECT detection, entity, time, severity, technique FROM alerts ORDER BY time, entity;
-- | detection | entity | time | severity | technique |
-- |-----------|--------|------|----------|-----------|
