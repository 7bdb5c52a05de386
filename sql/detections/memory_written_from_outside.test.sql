-- test: it writes twice
INSERT INTO syscalls (observed_at, syscall, pid, process_key, comm, uid, euid, result, error, target_pid) VALUES
  ('12:00:00.100', 'SYSCALL_PROCESS_VM_WRITEV', 84, 841, 'inj', 1000, 1000, 64, '', 90),
  ('12:00:01.100', 'SYSCALL_PROCESS_VM_WRITEV', 84, 841, 'inj', 1000, 1000, 8, '', 90);
-- advance: 5m
SELECT detection, entity, time, severity, technique FROM alerts ORDER BY time, entity;
-- | detection                   | entity                         | time                    | severity | technique |
-- |-----------------------------|--------------------------------|-------------------------|----------|-----------|
-- | memory_written_from_outside | inj (pid 84) wrote into pid 90 | 2026-01-01 12:00:01.100 | CRITICAL | T1055.009 |

-- test: it may not, and it writes into itself
INSERT INTO syscalls (observed_at, syscall, pid, process_key, comm, uid, euid, result, error, target_pid) VALUES
  ('12:01:00.100', 'SYSCALL_PROCESS_VM_WRITEV', 85, 851, 'inj', 1000, 1000, -1, 'EPERM', 90),
  ('12:01:00.200', 'SYSCALL_PROCESS_VM_WRITEV', 86, 861, 'self', 1000, 1000, 64, '', 86);
-- advance: 5m
SELECT detection, entity, time, severity, technique FROM alerts ORDER BY time, entity;
-- | detection | entity | time | severity | technique |
-- |-----------|--------|------|----------|-----------|

-- test: a debugger changes a variable
INSERT INTO syscalls (observed_at, syscall, pid, process_key, comm, uid, euid, result, error, target_pid) VALUES
  ('12:02:00.100', 'SYSCALL_PROCESS_VM_WRITEV', 87, 871, 'gdb', 1000, 1000, 8, '', 90);
-- advance: 5m
SELECT detection, entity, time, severity, technique FROM alerts ORDER BY time, entity;
-- | detection | entity | time | severity | technique |
-- |-----------|--------|------|----------|-----------|
