-- title: a process wrote into the memory of another
-- technique: T1055.009
-- false_positives: debuggers, checkpointing (CRIU) and some emulators whose names are not in the list below.
-- next_steps: find out who runs the writer and why, and look at the memory of the process that was written into.
INSERT INTO alerts
SELECT 'memory_written_from_outside' AS detection, host_id, concat(comm, ' (pid ', pid, ') wrote into pid ', target_pid) AS entity,
       last_seen AS time, 0.85 AS confidence, writes, bytes, euid
FROM (SELECT host_id, pid, process_key, comm, target_pid, session(observed_at, INTERVAL '5 seconds', INTERVAL '1 minute') AS win,
             count(*) AS writes, sum(result) AS bytes, max(euid) AS euid, max(observed_at) AS last_seen
      FROM syscalls
      WHERE syscall = 'SYSCALL_PROCESS_VM_WRITEV' AND result > 0 AND target_pid <> pid
        AND comm NOT IN ('gdb', 'gdbserver', 'lldb', 'lldb-server', 'rr', 'criu')
      GROUP BY host_id, pid, process_key, comm, target_pid, win);
