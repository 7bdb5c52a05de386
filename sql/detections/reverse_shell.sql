-- title: a process connected to a host and became a shell
-- technique: T1059.004
-- false_positives: a tool that administrators use for remote shells; a program that is started by inetd and execs a shell.
--   To the host itself it is half as sure.
-- next_steps: read who started the process, look at the connection's other end and at what the shell ran, and cut the connection.
INSERT INTO alerts
SELECT 'reverse_shell' AS detection, host_id, concat('pid ', pid, ' connected to ', address, ' and became ', shell) AS entity,
       last_seen AS time, CASE WHEN ip_scope(address) = 'loopback' THEN 0.5 ELSE 0.9 END AS confidence, euid
FROM (SELECT host_id, pid, process_key, session(observed_at, INTERVAL '5 seconds', INTERVAL '1 minute') AS win,
             sequence(observed_at, syscall = 'SYSCALL_CONNECT', syscall <> 'SYSCALL_CONNECT') AS steps,
             max(address) FILTER (WHERE syscall = 'SYSCALL_CONNECT') AS address,
             max(path) FILTER (WHERE syscall <> 'SYSCALL_CONNECT') AS shell,
             max(euid) AS euid, max(observed_at) AS last_seen
      FROM syscalls
      WHERE (syscall = 'SYSCALL_CONNECT' AND address_family IN ('inet', 'inet6') AND error IN ('', 'EINPROGRESS'))
         OR (syscall IN ('SYSCALL_EXECVE', 'SYSCALL_EXECVEAT') AND result = 0
             AND regexp_like(path, '/(sh|bash|dash|zsh|ksh|ash)$'))
      GROUP BY host_id, pid, process_key, win)
WHERE steps = 2;
