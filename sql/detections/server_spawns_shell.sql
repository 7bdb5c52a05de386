-- title: a web or database server started a shell
-- technique: T1190,T1059.004
-- false_positives: CGI scripts, database maintenance jobs and health checks that call a shell.
-- next_steps: read the shell's command line and the server's access log of that second, look for files written by the
--   server's user, and block the request's source.
-- allow: lateness-over-size
INSERT INTO alerts
SELECT 'server_spawns_shell' AS detection, host_id, concat(parent_comm, ' started pid ', pid, ' ', exe) AS entity,
       last_seen AS time, 0.85 AS confidence, execs, euid
FROM (SELECT host_id, pid, exe, euid, parent_comm, tumble(observed_at, INTERVAL '1 second') AS win, max(observed_at) AS last_seen, count(*) AS execs
      FROM processes
      WHERE kind = 'PROCESS_EVENT_KIND_EXEC'
        AND comm IN ('sh', 'bash', 'dash', 'zsh', 'ksh', 'ash', 'busybox')
        AND (parent_comm IN ('nginx', 'apache2', 'httpd', 'lighttpd', 'caddy', 'php-fpm', 'tomcat', 'catalina',
                             'postgres', 'mysqld', 'mariadbd', 'mongod', 'redis-server')
             OR starts_with(parent_comm, 'php-fpm'))
      GROUP BY host_id, pid, exe, euid, parent_comm, win);
