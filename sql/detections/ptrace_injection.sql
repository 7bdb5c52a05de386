-- title: a process wrote into another by ptrace
-- technique: T1055.008
-- false_positives: debuggers and tracers whose names are not in the list below; crash reporters that fix up what they look at.
-- next_steps: find out who runs the tracer and why, and look at the memory of the process that was written into.
INSERT INTO alerts
SELECT 'ptrace_injection' AS detection, host_id, concat(comm, ' (pid ', pid, ') wrote into pid ', target_pid) AS entity,
       last_seen AS time, 0.8 AS confidence, writes, euid
FROM (SELECT host_id, pid, process_key, comm, target_pid, session(observed_at, INTERVAL '5 seconds', INTERVAL '1 minute') AS win,
             count(*) AS writes, max(euid) AS euid, max(observed_at) AS last_seen
      FROM syscalls
      WHERE syscall = 'SYSCALL_PTRACE' AND result >= 0
        AND command IN ('PTRACE_POKETEXT', 'PTRACE_POKEDATA', 'PTRACE_POKEUSER', 'PTRACE_SETREGS', 'PTRACE_SETREGSET')
        AND comm NOT IN ('gdb', 'gdbserver', 'lldb', 'lldb-server', 'strace', 'ltrace', 'rr', 'dlv', 'criu')
      GROUP BY host_id, pid, process_key, comm, target_pid, win);
