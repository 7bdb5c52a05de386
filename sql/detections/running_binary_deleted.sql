-- title: a running program's file was deleted
-- technique: T1070.004
-- false_positives: a container image replaced while its processes run; compilers and installers that unpack themselves, run and
--   clean up. The upgrade of a package while its programs run is left out where one of them was seen within the minute.
-- next_steps: copy the program from /proc/PID/exe before the process ends, look at its parent and its open sockets,
--   and ask who wrote the file.
INSERT INTO alerts
SELECT 'running_binary_deleted' AS detection, host_id, concat('pid ', process, ' ', exe) AS entity, last_seen AS time,
       CASE WHEN exe_fs_type = 'tmpfs' THEN 0.95 ELSE 0.75 END AS confidence, seen, rss_bytes
FROM (SELECT *, max(installed) OVER (PARTITION BY host_id, exe) AS installed_anywhere
      FROM (SELECT host_id, exe, exe_fs_type, hop(observed_at, INTERVAL '2 seconds', INTERVAL '60 seconds') AS win,
                   -- Programs of packages count by their path, so that it is a row for each and not for each process.
                   CASE WHEN exe_deleted THEN pid ELSE 0 END AS process,
                   min(observed_at) FILTER (WHERE exe_deleted) AS first_seen, max(observed_at) FILTER (WHERE exe_deleted) AS last_seen,
                   count(*) FILTER (WHERE exe_deleted) AS seen, max(rss_bytes) FILTER (WHERE exe_deleted) AS rss_bytes,
                   count(*) FILTER (WHERE package <> '') AS installed
            FROM processes
            WHERE ((exe_deleted AND exe_fs_type <> 'memfd') -- which never has a file
                   OR package <> '')
              AND kind <> 'PROCESS_EVENT_KIND_EXIT'
            GROUP BY host_id, exe, exe_fs_type, process, win))
-- Once per process, as long as snapshots see it again within the minute.
WHERE first_seen >= win.end - INTERVAL '2 seconds' AND installed_anywhere = 0;
