-- test: it writes a program into memory and becomes it
INSERT INTO syscalls (observed_at, syscall, pid, process_key, comm, uid, euid, result, error, path, flags) VALUES
  ('12:00:00.100', 'SYSCALL_MEMFD_CREATE', 94, 941, 'loader', 1000, 1000, 3, '', 'x', 'MFD_CLOEXEC'),
  ('12:00:00.300', 'SYSCALL_EXECVE', 94, 941, 'loader', 1000, 1000, 0, '', '/proc/self/fd/3', '');
-- advance: 5m
SELECT detection, entity, time, severity, technique FROM alerts ORDER BY time, entity;
-- | detection  | entity             | time                    | severity | technique |
-- |------------|--------------------|-------------------------|----------|-----------|
-- | memfd_exec | pid 94 ran memfd:x | 2026-01-01 12:00:00.300 | CRITICAL | T1620     |

-- test: by the descriptor itself
INSERT INTO syscalls (observed_at, syscall, pid, process_key, comm, uid, euid, result, error, path, flags) VALUES
  ('12:01:00.100', 'SYSCALL_MEMFD_CREATE', 95, 951, 'loader', 1000, 1000, 3, '', '', ''),
  ('12:01:00.300', 'SYSCALL_EXECVEAT', 95, 951, 'loader', 1000, 1000, 0, '', '', 'AT_EMPTY_PATH');
-- advance: 5m
SELECT detection, entity, time, severity, technique FROM alerts ORDER BY time, entity;
-- | detection  | entity            | time                    | severity | technique |
-- |------------|-------------------|-------------------------|----------|-----------|
-- | memfd_exec | pid 95 ran memfd: | 2026-01-01 12:01:00.300 | CRITICAL | T1620     |

-- test: it only keeps data in memory, and starts a program of a file
INSERT INTO syscalls (observed_at, syscall, pid, process_key, comm, uid, euid, result, error, path, flags) VALUES
  ('12:02:00.100', 'SYSCALL_MEMFD_CREATE', 96, 961, 'pulseaudio', 1000, 1000, 3, '', 'shm', 'MFD_ALLOW_SEALING'),
  ('12:02:00.300', 'SYSCALL_EXECVE', 96, 961, 'pulseaudio', 1000, 1000, 0, '', '/usr/bin/true', '');
-- advance: 5m
SELECT detection, entity, time, severity, technique FROM alerts ORDER BY time, entity;
-- | detection | entity | time | severity | technique |
-- |-----------|--------|------|----------|-----------|

-- test: starting it fails
INSERT INTO syscalls (observed_at, syscall, pid, process_key, comm, uid, euid, result, error, path, flags) VALUES
  ('12:02:30.100', 'SYSCALL_MEMFD_CREATE', 99, 991, 'loader', 1000, 1000, 3, '', 'x', ''),
  ('12:02:30.300', 'SYSCALL_EXECVE', 99, 991, 'loader', 1000, 1000, -13, 'EACCES', '/proc/self/fd/3', '');
-- advance: 5m
SELECT detection, entity, time, severity, technique FROM alerts ORDER BY time, entity;
-- | detection | entity | time | severity | technique |
-- |-----------|--------|------|----------|-----------|

-- test: a container runtime runs from a sealed copy of itself
INSERT INTO syscalls (observed_at, syscall, pid, process_key, comm, uid, euid, result, error, path, flags) VALUES
  ('12:03:00.100', 'SYSCALL_MEMFD_CREATE', 97, 971, 'runc', 1000, 1000, 3, '', 'runc_cloned:/proc/self/exe', ''),
  ('12:03:00.300', 'SYSCALL_EXECVEAT', 97, 971, 'runc', 1000, 1000, 0, '', '', 'AT_EMPTY_PATH');
-- advance: 5m
SELECT detection, entity, time, severity, technique FROM alerts ORDER BY time, entity;
-- | detection | entity | time | severity | technique |
-- |-----------|--------|------|----------|-----------|
