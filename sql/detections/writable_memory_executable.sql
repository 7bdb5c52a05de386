-- title: memory that was or is writable became executable
-- technique: T1055,T1620
-- false_positives: programs that compile while they run (JavaScript, Java, .NET, Lua, regular expressions, graphics drivers), whose names are
--   not in the list below, and that loaded the compiler's library from the system's folders longer than a minute ago.
-- next_steps: look at the program and at who started it; dump the memory at the address before the process ends.
INSERT INTO alerts
SELECT 'writable_memory_executable' AS detection, host_id, concat(comm, ' (pid ', pid, ')') AS entity, last_seen AS time,
       CASE WHEN both > 0 THEN 0.7 ELSE 0.6 END AS confidence, regions, both, bytes, euid
FROM (SELECT host_id, pid, process_key, hop(observed_at, INTERVAL '10 seconds', INTERVAL '1 minute') AS win,
             count(*) FILTER (WHERE NOT loads) AS regions, count(*) FILTER (WHERE protection LIKE '%PROT_WRITE%') AS both,
             sum(size) FILTER (WHERE NOT loads) AS bytes, max(comm) FILTER (WHERE NOT loads) AS comm, max(euid) AS euid,
             min(observed_at) FILTER (WHERE NOT loads) AS first_seen, max(observed_at) FILTER (WHERE NOT loads) AS last_seen,
             count(*) FILTER (WHERE loads) AS compilers
      FROM (SELECT *, syscall IN ('SYSCALL_OPEN', 'SYSCALL_OPENAT') AS loads FROM syscalls)
      -- A library that compiles while its program runs, from where only root writes.
      WHERE (loads AND result >= 0 AND regexp_like(path, '^(/usr)?/lib/([^./][^/]*/)*lib(luajit-|LLVM-|jvm|node|mono|ruby)[^/]*\.so[^/]*$'))
      -- What is mapped from a file to be executed is a program or a library; what a loader changes later is not made executable.
      -- Where the kernel could not tell what the memory was before, it may have been writable.
         OR (((syscall IN ('SYSCALL_MPROTECT', 'SYSCALL_PKEY_MPROTECT') AND result = 0 AND protection LIKE '%PROT_EXEC%'
               AND (previous_protection = '' OR previous_protection LIKE '%PROT_WRITE%' OR previously_written))
              OR (syscall = 'SYSCALL_MMAP' AND error = '' AND protection LIKE '%PROT_WRITE%PROT_EXEC%' AND flags LIKE '%MAP_ANONYMOUS%'))
             -- A thread has a name of its own; audit knows no other.
             AND (CASE WHEN process_comm = '' THEN comm ELSE process_comm END) NOT IN
                 ('java', 'node', 'deno', 'bun', 'dotnet', 'mono', 'ruby', 'php', 'php-fpm', 'luajit', 'julia', 'R', 'chrome', 'chromium',
                  'firefox', 'qemu-system-x86', 'postgres', 'gnome-shell', 'Xorg', 'grep', 'git', 'C1 CompilerThre', 'C2 CompilerThre'))
      GROUP BY host_id, pid, process_key, win)
-- Windows overlap: once for each process, as long as it goes on within the minute.
WHERE first_seen >= win.end - INTERVAL '10 seconds' AND compilers = 0;
