-- title: a program read the hashes of passwords
-- technique: T1003.008
-- false_positives: backup software and programs that log people in whose names are not in the list below.
-- next_steps: find out what read it and who started that; if nobody can say, change the passwords of the host.
INSERT INTO alerts
SELECT 'credentials_read' AS detection, host_id, concat(comm, ' (pid ', pid, ') read ', path) AS entity, observed_at AS time,
       0.8 AS confidence, euid
FROM syscalls
WHERE syscall IN ('SYSCALL_OPEN', 'SYSCALL_OPENAT', 'SYSCALL_OPENAT2') AND result >= 0
  AND path IN ('/etc/shadow', '/etc/shadow-', '/etc/gshadow', '/etc/gshadow-')
  AND comm NOT IN ('sshd', 'login', 'su', 'sudo', 'passwd', 'chpasswd', 'unix_chkpwd', 'cron', 'systemd', 'systemd-userwor', 'useradd',
                   'usermod', 'userdel', 'groupadd', 'groupmod', 'chage', 'gpasswd', 'newgrp', 'vipw', 'pwck', 'grpck', 'systemd-sysuser',
                   'accounts-daemon', 'gdm-session-wor', 'polkitd');
