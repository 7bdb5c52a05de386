-- test: it attaches, writes code and lets go
INSERT INTO syscalls (observed_at, syscall, pid, process_key, comm, uid, euid, result, error, command, target_pid) VALUES
  ('12:00:00.100', 'SYSCALL_PTRACE', 81, 811, 'inj', 1000, 1000, 0, '', 'PTRACE_ATTACH', 90),
  ('12:00:00.200', 'SYSCALL_PTRACE', 81, 811, 'inj', 1000, 1000, 0, '', 'PTRACE_POKETEXT', 90),
  ('12:00:00.300', 'SYSCALL_PTRACE', 81, 811, 'inj', 1000, 1000, 0, '', 'PTRACE_POKETEXT', 90),
  ('12:00:00.400', 'SYSCALL_PTRACE', 81, 811, 'inj', 1000, 1000, 0, '', 'PTRACE_SETREGS', 90),
  ('12:00:00.500', 'SYSCALL_PTRACE', 81, 811, 'inj', 1000, 1000, 0, '', 'PTRACE_DETACH', 90);
-- advance: 5m
SELECT detection, entity, time, severity, technique FROM alerts ORDER BY time, entity;
-- | detection        | entity                         | time                    | severity | technique |
-- |------------------|--------------------------------|-------------------------|----------|-----------|
-- | ptrace_injection | inj (pid 81) wrote into pid 90 | 2026-01-01 12:00:00.400 | HIGH     | T1055.008 |

-- test: it looks and does not write, or may not write
INSERT INTO syscalls (observed_at, syscall, pid, process_key, comm, uid, euid, result, error, command, target_pid) VALUES
  ('12:01:00.100', 'SYSCALL_PTRACE', 81, 811, 'inj', 1000, 1000, 0, '', 'PTRACE_SEIZE', 90),
  ('12:01:00.200', 'SYSCALL_PTRACE', 81, 811, 'inj', 1000, 1000, 0, '', 'PTRACE_PEEKDATA', 90),
  ('12:01:00.300', 'SYSCALL_PTRACE', 81, 811, 'inj', 1000, 1000, 0, '', 'PTRACE_GETREGSET', 90),
  ('12:01:00.400', 'SYSCALL_PTRACE', 82, 821, 'inj', 1000, 1000, -1, 'EPERM', 'PTRACE_POKETEXT', 90);
-- advance: 5m
SELECT detection, entity, time, severity, technique FROM alerts ORDER BY time, entity;
-- | detection | entity | time | severity | technique |
-- |-----------|--------|------|----------|-----------|

-- test: a debugger sets a breakpoint
INSERT INTO syscalls (observed_at, syscall, pid, process_key, comm, uid, euid, result, error, command, target_pid) VALUES
  ('12:02:00.100', 'SYSCALL_PTRACE', 83, 831, 'gdb', 1000, 1000, 0, '', 'PTRACE_ATTACH', 90),
  ('12:02:00.200', 'SYSCALL_PTRACE', 83, 831, 'gdb', 1000, 1000, 0, '', 'PTRACE_POKETEXT', 90);
-- advance: 5m
SELECT detection, entity, time, severity, technique FROM alerts ORDER BY time, entity;
-- | detection | entity | time | severity | technique |
-- |-----------|--------|------|----------|-----------|
