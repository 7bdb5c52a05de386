-- title: a file got the set-user-id bit
-- technique: T1548.001
-- false_positives: package managers and installers whose names are not in the list below; an administrator at work.
-- next_steps: look at the file, who owns it and who set the bit; take the bit away.
INSERT INTO alerts
SELECT 'setuid_bit_set' AS detection, host_id,
       concat(comm, ' (pid ', pid, ') ', CASE WHEN path <> '' THEN path ELSE concat('descriptor ', fd) END) AS entity,
       observed_at AS time, CASE WHEN euid = 0 THEN 0.6 ELSE 0.8 END AS confidence, mode, euid
FROM syscalls
WHERE syscall IN ('SYSCALL_CHMOD', 'SYSCALL_FCHMOD', 'SYSCALL_FCHMODAT') AND result = 0
  AND (mode & 2048) <> 0 -- 04000
  AND comm NOT IN ('dpkg', 'dpkg-deb', 'dpkg-statoverri', 'apt', 'apt-get', 'rpm', 'dnf', 'tar', 'rsync', 'systemd-tmpfile');
