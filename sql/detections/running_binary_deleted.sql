-- title: a running program's file was deleted
-- technique: T1070.004
-- false_positives: a package upgrade or a container image replaced while its processes run; compilers and installers
--   that unpack themselves, run and clean up.
-- next_steps: copy the program from /proc/PID/exe before the process ends, look at its parent and its open sockets,
--   and ask who wrote the file.
INSERT INTO alerts
SELECT 'running_binary_deleted' AS detection, host_id, concat('pid ', pid, ' ', exe) AS entity, last_seen AS time,
       CASE WHEN exe_fs_type = 'tmpfs' THEN 0.95 ELSE 0.75 END AS confidence, seen, rss_bytes
FROM (SELECT host_id, pid, exe, exe_fs_type, hop(observed_at, INTERVAL '2 seconds', INTERVAL '60 seconds') AS win,
             min(observed_at) AS first_seen, max(observed_at) AS last_seen, count(*) AS seen, max(rss_bytes) AS rss_bytes
      FROM processes
      WHERE exe_deleted AND exe_fs_type <> 'memfd' -- which never has a file
        AND kind <> 'PROCESS_EVENT_KIND_EXIT'
      GROUP BY host_id, pid, exe, exe_fs_type, win)
-- Once per process, as long as snapshots see it again within the minute.
WHERE first_seen >= win.end - INTERVAL '2 seconds';
