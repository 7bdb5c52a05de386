-- title: a program was started that never was a file
-- technique: T1620
-- false_positives: container runtimes that run from a sealed copy of themselves under another name; loaders of packed programs.
-- next_steps: copy the program from /proc/PID/exe before the process ends, and look at who wrote it into memory.
INSERT INTO alerts
SELECT 'memfd_exec' AS detection, host_id, concat('pid ', pid, ' ran memfd:', name) AS entity, last_seen AS time, 0.9 AS confidence, euid
FROM (SELECT host_id, pid, process_key, session(observed_at, INTERVAL '5 seconds', INTERVAL '1 minute') AS win,
             sequence(observed_at, syscall = 'SYSCALL_MEMFD_CREATE', syscall <> 'SYSCALL_MEMFD_CREATE') AS steps,
             max(path) FILTER (WHERE syscall = 'SYSCALL_MEMFD_CREATE') AS name,
             max(euid) AS euid, max(observed_at) AS last_seen
      FROM syscalls
      WHERE ((syscall = 'SYSCALL_MEMFD_CREATE' AND result >= 0)
             OR (syscall IN ('SYSCALL_EXECVE', 'SYSCALL_EXECVEAT') AND result = 0
                 AND (regexp_like(path, '^(/proc/[^/]+/fd|/dev/fd)/') OR flags LIKE '%AT_EMPTY_PATH%')))
        AND NOT starts_with(comm, 'runc') AND comm <> 'crun'
      GROUP BY host_id, pid, process_key, win)
WHERE steps = 2;
