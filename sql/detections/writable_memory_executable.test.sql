-- test: it writes code into memory and makes that executable
INSERT INTO syscalls (observed_at, syscall, pid, process_key, comm, uid, euid, result, error, protection, flags, size, start_address) VALUES
  ('12:00:00.100', 'SYSCALL_MPROTECT', 88, 881, 'loader', 1000, 1000, 0, '', 'PROT_READ|PROT_EXEC', '', 4096, 140000000);
-- advance: 5m
SELECT detection, entity, time, severity, technique FROM alerts ORDER BY time, entity;
-- | detection                  | entity          | time                    | severity | technique   |
-- |----------------------------|-----------------|-------------------------|----------|-------------|
-- | writable_memory_executable | loader (pid 88) | 2026-01-01 12:00:00.100 | HIGH     | T1055,T1620 |

-- test: it maps memory that is both
INSERT INTO syscalls (observed_at, syscall, pid, process_key, comm, uid, euid, result, error, protection, flags, size, start_address) VALUES
  ('12:01:00.100', 'SYSCALL_MMAP', 89, 891, 'loader', 1000, 1000, 140737000000, '', 'PROT_READ|PROT_WRITE|PROT_EXEC', 'MAP_PRIVATE|MAP_ANONYMOUS', 4096, 140000000),
  ('12:01:00.200', 'SYSCALL_MPROTECT', 89, 891, 'loader', 1000, 1000, 0, '', 'PROT_READ|PROT_WRITE|PROT_EXEC', '', 4096, 140000000);
-- advance: 5m
SELECT detection, entity, time, severity, technique FROM alerts ORDER BY time, entity;
-- | detection                  | entity          | time                    | severity | technique   |
-- |----------------------------|-----------------|-------------------------|----------|-------------|
-- | writable_memory_executable | loader (pid 89) | 2026-01-01 12:01:00.200 | HIGH     | T1055,T1620 |

-- test: a loader maps the code of a library from its file, and a call that fails
INSERT INTO syscalls (observed_at, syscall, pid, process_key, comm, uid, euid, result, error, protection, flags, size, start_address) VALUES
  ('12:02:00.100', 'SYSCALL_MMAP', 91, 911, 'cat', 1000, 1000, 140737000000, '', 'PROT_READ|PROT_EXEC', 'MAP_PRIVATE|MAP_DENYWRITE', 4096, 140000000),
  ('12:02:00.200', 'SYSCALL_MPROTECT', 91, 911, 'cat', 1000, 1000, -13, 'EACCES', 'PROT_READ|PROT_EXEC', '', 4096, 140000000);
-- advance: 5m
SELECT detection, entity, time, severity, technique FROM alerts ORDER BY time, entity;
-- | detection | entity | time | severity | technique |
-- |-----------|--------|------|----------|-----------|

-- test: a runtime compiles what it runs
INSERT INTO syscalls (observed_at, syscall, pid, process_key, comm, process_comm, uid, euid, result, error, protection, flags, size, start_address) VALUES
  ('12:03:00.100', 'SYSCALL_MPROTECT', 92, 921, 'V8 DefaultWorke', 'node', 1000, 1000, 0, '', 'PROT_READ|PROT_EXEC', '', 4096, 140000000),
  ('12:03:00.150', 'SYSCALL_MPROTECT', 93, 931, 'C1 CompilerThre', '', 1000, 1000, 0, '', 'PROT_READ|PROT_WRITE|PROT_EXEC', '', 65536, 140000000),
  ('12:03:00.200', 'SYSCALL_MMAP', 93, 931, 'kafka-request-h', 'java', 1000, 1000, 140737000000, '', 'PROT_READ|PROT_WRITE|PROT_EXEC', 'MAP_PRIVATE|MAP_ANONYMOUS|MAP_NORESERVE', 4096, 140000000);
-- advance: 5m
SELECT detection, entity, time, severity, technique FROM alerts ORDER BY time, entity;
-- | detection | entity | time | severity | technique |
-- |-----------|--------|------|----------|-----------|

-- test: a program that has just loaded a compiler from the system's folders
INSERT INTO syscalls (observed_at, syscall, pid, process_key, comm, uid, euid, result, error, path, protection, flags, size, start_address) VALUES
  ('12:04:00.100', 'SYSCALL_OPENAT', 94, 941, 'wrk', 1000, 1000, 3, '', '/lib/x86_64-linux-gnu/libluajit-5.1.so.2', '', 'O_RDONLY|O_CLOEXEC', NULL, NULL),
  ('12:04:00.200', 'SYSCALL_MPROTECT', 94, 941, 'wrk', 1000, 1000, 0, '', '', 'PROT_READ|PROT_EXEC', '', 65536, 140000000);
-- advance: 5m
SELECT detection, entity, time, severity, technique FROM alerts ORDER BY time, entity;
-- | detection | entity | time | severity | technique |
-- |-----------|--------|------|----------|-----------|

-- test: from elsewhere, and one that another process has loaded
INSERT INTO syscalls (observed_at, syscall, pid, process_key, comm, uid, euid, result, error, path, protection, flags, size, start_address) VALUES
  ('12:05:00.100', 'SYSCALL_OPENAT', 95, 951, 'x', 1000, 1000, 3, '', '/tmp/lib/libluajit-5.1.so.2', '', 'O_RDONLY|O_CLOEXEC', NULL, NULL),
  ('12:05:00.200', 'SYSCALL_MPROTECT', 95, 951, 'x', 1000, 1000, 0, '', '', 'PROT_READ|PROT_EXEC', '', 65536, 140000000),
  ('12:05:10.100', 'SYSCALL_OPENAT', 96, 961, 'wrk', 1000, 1000, 3, '', '/usr/lib/x86_64-linux-gnu/libluajit-5.1.so.2', '', 'O_RDONLY|O_CLOEXEC', NULL, NULL),
  ('12:05:10.200', 'SYSCALL_MPROTECT', 97, 971, 'y', 1000, 1000, 0, '', '', 'PROT_READ|PROT_EXEC', '', 65536, 140000000);
-- advance: 5m
SELECT entity, time FROM alerts ORDER BY time, entity;
-- | entity     | time                    |
-- |------------|-------------------------|
-- | x (pid 95) | 2026-01-01 12:05:00.200 |
-- | y (pid 97) | 2026-01-01 12:05:10.200 |

-- test: memory that was writable, memory that was written, and by the call that also names a key
INSERT INTO syscalls (observed_at, syscall, pid, process_key, comm, uid, euid, result, error, protection, previous_protection, previously_written, flags, size, start_address) VALUES
  ('12:06:00.100', 'SYSCALL_MPROTECT', 98, 981, 'a', 1000, 1000, 0, '', 'PROT_READ|PROT_EXEC', 'PROT_READ|PROT_WRITE', false, '', 4096, 140000000),
  ('12:06:00.200', 'SYSCALL_MPROTECT', 99, 991, 'b', 1000, 1000, 0, '', 'PROT_READ|PROT_EXEC', 'PROT_READ', true, '', 4096, 140000000),
  ('12:06:00.300', 'SYSCALL_PKEY_MPROTECT', 100, 1001, 'c', 1000, 1000, 0, '', 'PROT_EXEC', 'PROT_WRITE', true, '', 4096, 140000000);
-- advance: 5m
SELECT entity, time FROM alerts ORDER BY time, entity;
-- | entity      | time                    |
-- |-------------|-------------------------|
-- | a (pid 98)  | 2026-01-01 12:06:00.100 |
-- | b (pid 99)  | 2026-01-01 12:06:00.200 |
-- | c (pid 100) | 2026-01-01 12:06:00.300 |

-- test: memory that was not writable and that nobody wrote
INSERT INTO syscalls (observed_at, syscall, pid, process_key, comm, uid, euid, result, error, protection, previous_protection, previously_written, flags, size, start_address) VALUES
  ('12:07:00.100', 'SYSCALL_MPROTECT', 101, 1011, 'loader', 1000, 1000, 0, '', 'PROT_READ|PROT_EXEC', 'PROT_READ', false, '', 4096, 140000000),
  ('12:07:00.200', 'SYSCALL_MPROTECT', 101, 1011, 'loader', 1000, 1000, 0, '', 'PROT_READ|PROT_EXEC', 'PROT_NONE', false, '', 4096, 140000000);
-- advance: 5m
SELECT entity, time FROM alerts ORDER BY time, entity;
-- | entity | time |
-- |--------|------|
