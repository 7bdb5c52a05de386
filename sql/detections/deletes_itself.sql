-- title: a program deleted its own file
-- technique: T1070.004
-- false_positives: installers and updaters that clean up after themselves.
-- next_steps: copy the program from /proc/PID/exe before the process ends, and look at who started it.
INSERT INTO alerts
SELECT 'deletes_itself' AS detection, host_id, concat('pid ', pid, ' ', path) AS entity, last_seen AS time, 0.85 AS confidence, euid
FROM (SELECT host_id, pid, process_key, path, session(observed_at, INTERVAL '5 seconds', INTERVAL '1 minute') AS win,
             sequence(observed_at, syscall IN ('SYSCALL_EXECVE', 'SYSCALL_EXECVEAT'),
                      syscall IN ('SYSCALL_UNLINK', 'SYSCALL_UNLINKAT')) AS steps,
             max(euid) AS euid, max(observed_at) AS last_seen
      FROM syscalls
      WHERE syscall IN ('SYSCALL_EXECVE', 'SYSCALL_EXECVEAT', 'SYSCALL_UNLINK', 'SYSCALL_UNLINKAT') AND result = 0
      GROUP BY host_id, pid, process_key, path, win)
WHERE steps = 2;
