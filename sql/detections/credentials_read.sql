-- title: a program read the hashes of passwords
-- technique: T1003.008
-- false_positives: backup software, and programs that log people in or look after accounts whose names are not in the list below.
-- next_steps: find out what read it and who started that; if nobody can say, change the passwords of the host.
INSERT INTO alerts
SELECT 'credentials_read' AS detection, host_id,
       concat(comm, ' (pid ', pid, ') read ', first_file, CASE WHEN last_file > first_file THEN concat(' and ', last_file) ELSE '' END) AS entity,
       last_read AS time, 0.8 AS confidence, reads, euid
FROM (SELECT host_id, pid, process_key, hop(observed_at, INTERVAL '10 seconds', INTERVAL '20 seconds') AS win,
             count(*) FILTER (WHERE reads) AS reads,
             min(observed_at) FILTER (WHERE reads) AS first_read, max(observed_at) FILTER (WHERE reads) AS last_read,
             min(path) FILTER (WHERE reads) AS first_file, max(path) FILTER (WHERE reads) AS last_file,
             max(comm) FILTER (WHERE reads) AS comm, max(euid) FILTER (WHERE reads) AS euid,
             -- Read by a set-user-id program for whoever started it.
             count(*) FILTER (WHERE reads AND euid = 0 AND uid <> 0) AS reads_for_user,
             count(*) FILTER (WHERE reads AND comm NOT IN
                 ('sshd', 'login', 'su', 'sudo', 'passwd', 'chpasswd', 'unix_chkpwd', 'cron', 'systemd', 'systemd-userwor', 'useradd',
                  'usermod', 'userdel', 'groupadd', 'groupmod', 'groupdel', 'chage', 'chfn', 'chsh', 'gpasswd', 'newgrp', 'vipw', 'pwck', 'grpck',
                  'systemd-sysuser', 'accounts-daemon', 'gdm-session-wor', 'polkitd', 'atd')) AS reads_by_others,
             count(*) FILTER (WHERE reads AND euid <> 0) AS reads_of_users,
             -- Where only root writes: what ran before it read, if that was just now.
             count(*) FILTER (WHERE runs) AS runs,
             count(*) FILTER (WHERE runs AND NOT regexp_like(path, '^/(usr|bin|sbin|lib)/([^./][^/]*/)*[^/]+$')) AS runs_from_elsewhere,
             count(*) FILTER (WHERE runs AND NOT regexp_like(path,
                 '^(/var/lib/dpkg/info/[^/]+\.(config|preinst|postinst|prerm|postrm)|/usr/share/debconf/frontend|/usr/sbin/dpkg-preconfigure|'
                 || '/usr/sbin/(add|del)(user|group))$')) AS runs_of_others,
             count(*) FILTER (WHERE NOT reads AND NOT runs) AS backups
      FROM (SELECT *, syscall IN ('SYSCALL_EXECVE', 'SYSCALL_EXECVEAT') AS runs,
                   path IN ('/etc/shadow', '/etc/shadow-', '/etc/gshadow', '/etc/gshadow-') AS reads
            FROM syscalls WHERE result >= 0)
      WHERE runs
         OR (syscall IN ('SYSCALL_OPEN', 'SYSCALL_OPENAT', 'SYSCALL_OPENAT2')
             AND (reads OR (starts_with(path, '/var/backups/') AND (flags LIKE '%O_PATH%' OR flags LIKE '%O_CREAT%'))))
      GROUP BY host_id, pid, process_key, win)
-- Windows overlap: the first that has the reading, and what ran in ten seconds before.
WHERE first_read >= win.end - INTERVAL '10 seconds'
  -- By name, where it is not known to come from elsewhere.
  AND NOT (reads_by_others = 0 AND runs_from_elsewhere = 0)
  AND NOT (reads_for_user = reads AND runs > 0 AND runs_from_elsewhere = 0)
  -- The package manager and its scripts, which look users up.
  AND NOT (runs > 0 AND runs_of_others = 0 AND reads_of_users = 0)
  -- Into the host's own backups, as Debian itself does.
  AND NOT (backups > 0 AND reads_of_users = 0 AND runs_from_elsewhere = 0);
