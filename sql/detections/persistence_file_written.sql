-- title: a file was written from where cron or systemd starts programs
-- technique: T1053.003,T1543.002
-- false_positives: package managers and configuration management whose names are not in the list below; crontab -e; an administrator at work.
-- next_steps: read the file and who wrote it; take it away and look for what it started already.
INSERT INTO alerts
SELECT 'persistence_file_written' AS detection, host_id, concat(comm, ' (pid ', pid, ') wrote ', file) AS entity, last_write AS time,
       CASE WHEN euid = 0 THEN 0.6 ELSE 0.7 END AS confidence, writes, euid
FROM (SELECT host_id, pid, process_key, hop(observed_at, INTERVAL '10 seconds', INTERVAL '20 seconds') AS win,
             count(*) FILTER (WHERE writes) AS writes,
             min(observed_at) FILTER (WHERE writes) AS first_write, max(observed_at) FILTER (WHERE writes) AS last_write,
             max(file) FILTER (WHERE writes) AS file, max(comm) FILTER (WHERE writes) AS comm, max(euid) FILTER (WHERE writes) AS euid,
             count(*) FILTER (WHERE writes AND comm NOT IN ('dpkg', 'apt', 'apt-get', 'rpm', 'dnf', 'crontab', 'at', 'systemctl', 'systemd',
                                                            'puppet', 'chef-client', 'ansible', 'salt-minion')) AS writes_by_others,
             count(*) FILTER (WHERE NOT writes) AS runs,
             count(*) FILTER (WHERE NOT writes AND NOT regexp_like(path, '^/(usr|bin|sbin|lib|opt)/([^./][^/]*/)*[^/]+$')) AS runs_from_elsewhere,
             -- The scripts that a package brings, which only root can put there.
             count(*) FILTER (WHERE NOT writes AND NOT regexp_like(path,
                 '^(/var/lib/dpkg/info/[^/]+\.(config|preinst|postinst|prerm|postrm)|/usr/share/debconf/frontend)$')) AS runs_of_others
      FROM (SELECT *, CASE WHEN other_path <> '' THEN other_path ELSE path END AS file,
                   syscall NOT IN ('SYSCALL_EXECVE', 'SYSCALL_EXECVEAT') AS writes
            FROM syscalls)
      WHERE (syscall IN ('SYSCALL_EXECVE', 'SYSCALL_EXECVEAT') AND result = 0)
         OR (((syscall IN ('SYSCALL_OPEN', 'SYSCALL_OPENAT', 'SYSCALL_CREAT') AND result >= 0
               AND (syscall = 'SYSCALL_CREAT' OR (flags LIKE '%O_CREAT%' AND NOT starts_with(flags, 'O_RDONLY'))))
              OR (syscall IN ('SYSCALL_RENAME', 'SYSCALL_RENAMEAT', 'SYSCALL_RENAMEAT2') AND result = 0))
             AND regexp_like(file, '^(/etc/cron|/var/spool/cron/|/(etc|usr/lib|lib|run)/systemd/system/|/home/[^/]+/\.config/systemd/user/|/root/\.config/systemd/user/)'))
      GROUP BY host_id, pid, process_key, win)
-- Windows overlap: the first that has the writing, and what ran in ten seconds before.
WHERE first_write >= win.end - INTERVAL '10 seconds'
  -- By name, where it is not known to come from elsewhere.
  AND NOT (writes_by_others = 0 AND runs_from_elsewhere = 0)
  AND NOT (runs > 0 AND runs_of_others = 0);
