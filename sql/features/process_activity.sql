-- What the children of each process did in the last ten seconds, every second. A burst of discovery shows as many
-- different short-lived programs under one parent; a build as many runs of a few.
-- allow: exact-distinct
CREATE VIEW process_activity AS
SELECT host_id, parent_pid, parent_comm,
       hop(observed_at, INTERVAL '1 second', INTERVAL '10 seconds')                         AS win,
       max(observed_at)                                                                     AS last_seen,
       count(*)                                                                             AS events,
       count(*) FILTER (WHERE kind = 'PROCESS_EVENT_KIND_FORK')                             AS forks,
       count(*) FILTER (WHERE kind = 'PROCESS_EVENT_KIND_EXEC')                             AS execs,
       count(*) FILTER (WHERE kind = 'PROCESS_EVENT_KIND_EXIT')                             AS exits,
       count(DISTINCT comm) FILTER (WHERE kind = 'PROCESS_EVENT_KIND_EXEC')                 AS distinct_comm,
       count(DISTINCT exe) FILTER (WHERE kind = 'PROCESS_EVENT_KIND_EXEC')                  AS distinct_exe,
       count(*) FILTER (WHERE kind = 'PROCESS_EVENT_KIND_EXEC'
                          AND comm IN ('id', 'whoami', 'groups', 'who', 'w', 'last', 'users', 'logname', 'tty',
                                       'uname', 'hostname', 'lscpu', 'lsblk', 'df', 'free', 'uptime', 'arch', 'nproc',
                                       'ps', 'pgrep', 'pstree', 'lsof', 'ss', 'netstat', 'ip', 'ifconfig',
                                       'getent', 'env', 'printenv', 'mount', 'dmesg', 'lsmod'))
                                                                                            AS discovery_execs,
       count(DISTINCT comm) FILTER (WHERE kind = 'PROCESS_EVENT_KIND_EXEC'
                          AND comm IN ('id', 'whoami', 'groups', 'who', 'w', 'last', 'users', 'logname', 'tty',
                                       'uname', 'hostname', 'lscpu', 'lsblk', 'df', 'free', 'uptime', 'arch', 'nproc',
                                       'ps', 'pgrep', 'pstree', 'lsof', 'ss', 'netstat', 'ip', 'ifconfig',
                                       'getent', 'env', 'printenv', 'mount', 'dmesg', 'lsmod'))
                                                                                            AS distinct_discovery,
       count(*) FILTER (WHERE kind = 'PROCESS_EVENT_KIND_EXEC'
                          AND comm IN ('sh', 'bash', 'dash', 'zsh', 'ksh', 'ash'))          AS shells,
       count(*) FILTER (WHERE kind = 'PROCESS_EVENT_KIND_EXIT' AND lifetime_us < 1000000)   AS short_lived,
       count(*) FILTER (WHERE kind = 'PROCESS_EVENT_KIND_EXIT' AND exit_code <> 0)          AS failed_exits,
       coalesce(avg(lifetime_us) FILTER (WHERE kind = 'PROCESS_EVENT_KIND_EXIT'), 0)        AS mean_lifetime_us,
       coalesce(min(lifetime_us) FILTER (WHERE kind = 'PROCESS_EVENT_KIND_EXIT'), 0)        AS min_lifetime_us,
       count(*) FILTER (WHERE kind = 'PROCESS_EVENT_KIND_EXEC' AND euid = 0)                AS root_execs,
       -- Of jobs that root gave to cron.
       count(*) FILTER (WHERE kind = 'PROCESS_EVENT_KIND_EXEC' AND euid = 0
                          AND (array_has(ancestors, '/usr/sbin/cron') OR array_has(ancestors, '/usr/sbin/crond')))
                                                                                            AS scheduled_execs,
       count(*) FILTER (WHERE kind = 'PROCESS_EVENT_KIND_EXEC'
                          AND exe_fs_type IN ('tmpfs', 'memfd'))                            AS tmpfs_execs,
       count(*) FILTER (WHERE exe_deleted)                                                  AS deleted_execs,
       count(*) FILTER (WHERE cardinality(unreadable) > 0)                                  AS unreadable_events,
       shed_rows()                                                                          AS shed
FROM processes
WHERE kind <> 'PROCESS_EVENT_KIND_SNAPSHOT'
GROUP BY host_id, parent_pid, parent_comm, win;

INSERT INTO process_features
SELECT host_id, concat(parent_comm, ' ', parent_pid) AS entity, win.start AS window_start, win.end AS window_end,
       events, forks, execs, exits, distinct_comm, distinct_exe, discovery_execs, distinct_discovery, shells,
       short_lived, failed_exits, mean_lifetime_us, min_lifetime_us, root_execs, tmpfs_execs, deleted_execs,
       unreadable_events, predict('process_behaviour', *) AS score
FROM process_activity;
