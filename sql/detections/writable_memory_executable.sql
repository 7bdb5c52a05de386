-- title: memory that was or is writable became executable
-- technique: T1055,T1620
-- false_positives: programs that compile while they run (JavaScript, Java, .NET, Lua, regular expressions, graphics drivers) and whose names are
--   not in the list below.
-- next_steps: look at the program and at who started it; dump the memory at the address before the process ends.
INSERT INTO alerts
SELECT 'writable_memory_executable' AS detection, host_id, concat(comm, ' (pid ', pid, ')') AS entity, last_seen AS time,
       CASE WHEN both > 0 THEN 0.7 ELSE 0.6 END AS confidence, regions, both, bytes, euid
FROM (SELECT host_id, pid, process_key, comm, session(observed_at, INTERVAL '5 seconds', INTERVAL '1 minute') AS win,
             count(*) AS regions, count(*) FILTER (WHERE protection LIKE '%PROT_WRITE%') AS both, sum(size) AS bytes,
             max(euid) AS euid, max(observed_at) AS last_seen
      FROM syscalls
      -- What is mapped from a file to be executed is a program or a library; what a loader changes later is not made executable.
      WHERE ((syscall = 'SYSCALL_MPROTECT' AND result = 0 AND protection LIKE '%PROT_EXEC%')
             OR (syscall = 'SYSCALL_MMAP' AND error = '' AND protection LIKE '%PROT_WRITE%PROT_EXEC%' AND flags LIKE '%MAP_ANONYMOUS%'))
        -- A thread has a name of its own; audit knows no other.
        AND (CASE WHEN process_comm = '' THEN comm ELSE process_comm END) NOT IN
            ('java', 'node', 'deno', 'bun', 'dotnet', 'mono', 'ruby', 'php', 'php-fpm', 'luajit', 'julia', 'R', 'chrome', 'chromium',
             'firefox', 'qemu-system-x86', 'postgres', 'gnome-shell', 'Xorg', 'grep', 'git', 'C1 CompilerThre', 'C2 CompilerThre')
      GROUP BY host_id, pid, process_key, comm, win);
