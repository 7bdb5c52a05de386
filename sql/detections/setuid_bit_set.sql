-- title: a file got the set-user-id bit
-- technique: T1548.001
-- false_positives: package managers and installers whose names are not in the list below; an administrator at work. What a package's script
--   does to a file that the package brought in the five minutes before is left out.
-- next_steps: look at the file, who owns it and who set the bit; take the bit away.
INSERT INTO alerts
SELECT 'setuid_bit_set' AS detection, host_id, concat(comm, ' (pid ', pid, ') ', file) AS entity, last_set AS time,
       CASE WHEN euid = 0 THEN 0.6 ELSE 0.8 END AS confidence, mode, euid
FROM (SELECT host_id, file, process, hop(observed_at, INTERVAL '10 seconds', INTERVAL '5 minutes') AS win,
             max(observed_at) FILTER (WHERE sets) AS last_set, max(comm) FILTER (WHERE sets) AS comm, max(pid) FILTER (WHERE sets) AS pid,
             max(mode) FILTER (WHERE sets) AS mode, max(euid) FILTER (WHERE sets) AS euid,
             count(*) FILTER (WHERE NOT sets) AS unpacked
      FROM (SELECT *, syscall IN ('SYSCALL_CHMOD', 'SYSCALL_FCHMOD', 'SYSCALL_FCHMODAT') AS sets,
                   -- /bin is /usr/bin.
                   regexp_replace(CASE WHEN other_path <> '' THEN other_path WHEN path <> '' THEN path ELSE concat('descriptor ', fd) END,
                                  '^/(bin|sbin|lib)/', '/usr/\1/') AS file,
                   CASE WHEN path = '' THEN pid ELSE 0 END AS process
            FROM syscalls WHERE result = 0)
      WHERE (sets AND (mode & 2048) <> 0 -- 04000
             AND comm NOT IN ('dpkg', 'dpkg-deb', 'dpkg-statoverri', 'apt', 'apt-get', 'rpm', 'dnf', 'tar', 'rsync', 'systemd-tmpfile'))
         OR (syscall = 'SYSCALL_RENAME' AND comm = 'dpkg' AND euid = 0 AND path = concat(other_path, '.dpkg-new'))
      GROUP BY host_id, file, process, win)
-- Windows overlap: only those in whose last ten seconds a bit was set.
WHERE last_set >= win.end - INTERVAL '10 seconds' AND unpacked = 0;
