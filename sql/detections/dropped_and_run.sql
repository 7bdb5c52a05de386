-- title: a file was written into a folder for anybody and run at once
-- technique: T1105
-- false_positives: installers that unpack themselves; tests that compile and run in /tmp.
-- next_steps: keep a copy of the file, look at who wrote it (a download, an exploited service) and at what it did.
INSERT INTO alerts
SELECT 'dropped_and_run' AS detection, host_id, file AS entity, last_run AS time, 0.75 AS confidence, runs, euid
FROM (SELECT host_id, CASE WHEN other_path <> '' THEN other_path ELSE path END AS file,
             hop(observed_at, INTERVAL '10 seconds', INTERVAL '1 minute') AS win,
             sequence(observed_at, syscall NOT IN ('SYSCALL_EXECVE', 'SYSCALL_EXECVEAT'),
                      syscall IN ('SYSCALL_EXECVE', 'SYSCALL_EXECVEAT')) AS steps,
             count(*) FILTER (WHERE syscall IN ('SYSCALL_EXECVE', 'SYSCALL_EXECVEAT')) AS runs,
             max(observed_at) FILTER (WHERE syscall IN ('SYSCALL_EXECVE', 'SYSCALL_EXECVEAT')) AS last_run,
             max(euid) AS euid
      FROM syscalls
      WHERE ((syscall IN ('SYSCALL_OPEN', 'SYSCALL_OPENAT', 'SYSCALL_CREAT') AND result >= 0
              AND (syscall = 'SYSCALL_CREAT' OR flags LIKE '%O_CREAT%') AND NOT starts_with(flags, 'O_RDONLY'))
             OR (syscall IN ('SYSCALL_RENAME', 'SYSCALL_RENAMEAT', 'SYSCALL_RENAMEAT2') AND result = 0)
             OR (syscall IN ('SYSCALL_EXECVE', 'SYSCALL_EXECVEAT') AND result = 0))
        AND regexp_like(CASE WHEN other_path <> '' THEN other_path ELSE path END, '^/(tmp|var/tmp|dev/shm|run/user)/')
        AND NOT regexp_like(path, '^/tmp/rustdoctest')
        AND comm NOT IN ('apt', 'apt-get', 'dpkg', 'dpkg-preconfigure', 'rpm', 'dnf')
      GROUP BY host_id, file, win)
-- Windows overlap: only those whose last ten seconds have a run.
WHERE steps = 2 AND last_run >= win.end - INTERVAL '10 seconds';
