-- title: a file was written from where cron or systemd starts programs
-- technique: T1053.003,T1543.002
-- false_positives: package managers and configuration management whose names are not in the list below; crontab -e; an administrator at work.
-- next_steps: read the file and who wrote it; take it away and look for what it started already.
INSERT INTO alerts
SELECT 'persistence_file_written' AS detection, host_id, concat(comm, ' (pid ', pid, ') wrote ', file) AS entity, observed_at AS time,
       CASE WHEN euid = 0 THEN 0.6 ELSE 0.7 END AS confidence, euid
FROM (SELECT *, CASE WHEN other_path <> '' THEN other_path ELSE path END AS file FROM syscalls)
WHERE ((syscall IN ('SYSCALL_OPEN', 'SYSCALL_OPENAT', 'SYSCALL_CREAT') AND result >= 0
        AND (syscall = 'SYSCALL_CREAT' OR (flags LIKE '%O_CREAT%' AND NOT starts_with(flags, 'O_RDONLY'))))
       OR (syscall IN ('SYSCALL_RENAME', 'SYSCALL_RENAMEAT', 'SYSCALL_RENAMEAT2') AND result = 0))
  AND regexp_like(file, '^(/etc/cron|/var/spool/cron/|/(etc|usr/lib|lib|run)/systemd/system/|/home/[^/]+/\.config/systemd/user/|/root/\.config/systemd/user/)')
  AND comm NOT IN ('dpkg', 'apt', 'apt-get', 'rpm', 'dnf', 'crontab', 'systemctl', 'systemd', 'puppet', 'chef-client', 'ansible', 'salt-minion');
