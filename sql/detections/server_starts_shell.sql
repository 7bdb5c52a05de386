-- title: a process that serves connections started a shell
-- technique: T1505.003
-- false_positives: servers that start scripts for requests (CGI); inetd; a remote login whose server starts the shell itself. A terminal
--   multiplexer (tmux, screen) is left out where it makes a terminal for the shell.
-- next_steps: read the shell's command line and the server's access log of that second, look for files written by the server's
--   user, and block the request's source.
INSERT INTO alerts
SELECT 'server_starts_shell' AS detection, host_id, concat('pid ', server, ' started ', shell) AS entity, last_seen AS time,
       0.75 AS confidence, connections, euid
FROM (-- The server's calls, and those of its children.
      SELECT host_id, CASE WHEN syscall IN ('SYSCALL_EXECVE', 'SYSCALL_EXECVEAT') THEN parent_pid ELSE pid END AS server,
             session(observed_at, INTERVAL '5 seconds', INTERVAL '1 minute') AS win,
             sequence(observed_at, syscall IN ('SYSCALL_ACCEPT', 'SYSCALL_ACCEPT4'),
                      syscall IN ('SYSCALL_EXECVE', 'SYSCALL_EXECVEAT')) AS steps,
             count(*) FILTER (WHERE syscall IN ('SYSCALL_ACCEPT', 'SYSCALL_ACCEPT4')) AS connections,
             max(path) FILTER (WHERE syscall IN ('SYSCALL_EXECVE', 'SYSCALL_EXECVEAT')) AS shell,
             max(euid) AS euid, max(observed_at) FILTER (WHERE syscall NOT IN ('SYSCALL_OPEN', 'SYSCALL_OPENAT')) AS last_seen,
             count(*) FILTER (WHERE path = '/dev/ptmx' AND comm IN ('tmux: server', 'screen', 'SCREEN')) AS terminals
      FROM syscalls
      WHERE (syscall IN ('SYSCALL_ACCEPT', 'SYSCALL_ACCEPT4') AND result >= 0 AND comm NOT IN ('sshd', 'inetd', 'xinetd', 'systemd'))
         OR (syscall IN ('SYSCALL_EXECVE', 'SYSCALL_EXECVEAT') AND result = 0
             AND regexp_like(path, '/(sh|bash|dash|zsh|ksh|ash)$'))
         OR (syscall IN ('SYSCALL_OPEN', 'SYSCALL_OPENAT') AND result >= 0 AND path = '/dev/ptmx')
      GROUP BY host_id, server, win)
WHERE steps = 2 AND terminals = 0;
