-- test: it is started and deletes its file
INSERT INTO syscalls (observed_at, syscall, pid, process_key, comm, uid, euid, result, error, path, flags) VALUES
  ('12:00:00.100', 'SYSCALL_EXECVE', 111, 1111, 'bash', 1000, 1000, 0, '', '/tmp/x', ''),
  ('12:00:00.300', 'SYSCALL_UNLINK', 111, 1111, 'x', 1000, 1000, 0, '', '/tmp/x', '');
-- advance: 5m
SELECT detection, entity, time, severity, technique FROM alerts ORDER BY time, entity;
-- | detection      | entity         | time                    | severity | technique |
-- |----------------|----------------|-------------------------|----------|-----------|
-- | deletes_itself | pid 111 /tmp/x | 2026-01-01 12:00:00.300 | CRITICAL | T1070.004 |

-- test: deleting it fails, or it deletes another file
INSERT INTO syscalls (observed_at, syscall, pid, process_key, comm, uid, euid, result, error, path, flags) VALUES
  ('12:01:00.100', 'SYSCALL_EXECVE', 112, 1121, 'bash', 1000, 1000, 0, '', '/tmp/x', ''),
  ('12:01:00.300', 'SYSCALL_UNLINK', 112, 1121, 'x', 1000, 1000, -13, 'EACCES', '/tmp/x', ''),
  ('12:01:00.100', 'SYSCALL_EXECVE', 113, 1131, 'bash', 1000, 1000, 0, '', '/usr/bin/rm', ''),
  ('12:01:00.300', 'SYSCALL_UNLINKAT', 113, 1131, 'rm', 1000, 1000, 0, '', '/tmp/x', '');
-- advance: 5m
SELECT detection, entity, time, severity, technique FROM alerts ORDER BY time, entity;
-- | detection | entity | time | severity | technique |
-- |-----------|--------|------|----------|-----------|

-- test: configure runs a program and its shell has it deleted
INSERT INTO syscalls (observed_at, syscall, pid, process_key, comm, uid, euid, result, error, path, flags) VALUES
  ('12:02:00.100', 'SYSCALL_EXECVE', 114, 1141, 'sh', 1000, 1000, 0, '', './conftest', ''),
  ('12:02:00.200', 'SYSCALL_EXECVE', 115, 1151, 'sh', 1000, 1000, 0, '', '/usr/bin/rm', ''),
  ('12:02:00.300', 'SYSCALL_UNLINKAT', 115, 1151, 'rm', 1000, 1000, 0, '', './conftest', '');
-- advance: 5m
SELECT detection, entity, time, severity, technique FROM alerts ORDER BY time, entity;
-- | detection | entity | time | severity | technique |
-- |-----------|--------|------|----------|-----------|
