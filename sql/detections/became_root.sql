-- title: a process became root without a program or a call that may do that
-- technique: T1068
-- false_positives: none is known: what starts a set-user-id program, or sets its id back by a call, is not meant.
-- next_steps: isolate the host: its kernel or a service of root was exploited. Keep memory and logs, and look at what the process ran before.
INSERT INTO alerts
SELECT 'became_root' AS detection, host_id, concat(comm, ' (pid ', pid, ') of user ', before) AS entity, last_seen AS time,
       0.95 AS confidence, calls, before AS euid_before
FROM (SELECT host_id, pid, process_key, session(observed_at, INTERVAL '5 seconds', INTERVAL '1 minute') AS win,
             first_value(euid ORDER BY observed_at) AS before, last_value(euid ORDER BY observed_at) AS after,
             last_value(comm ORDER BY observed_at) AS comm, count(*) AS calls,
             count(*) FILTER (WHERE result = 0 AND syscall IN ('SYSCALL_EXECVE', 'SYSCALL_EXECVEAT', 'SYSCALL_SETUID', 'SYSCALL_SETREUID',
                                                               'SYSCALL_SETRESUID', 'SYSCALL_SETFSUID', 'SYSCALL_SETNS',
                                                               'SYSCALL_UNSHARE')) AS ways,
             max(observed_at) AS last_seen
      FROM syscalls GROUP BY host_id, pid, process_key, win)
WHERE before <> 0 AND after = 0 AND ways = 0;
