-- title: a program was run out of a memory-backed or world-writable folder
-- technique: T1036.005
-- false_positives: installers and build tools that run helpers from /tmp; programs that use memfd. Programs that run
--   from a sealed copy of themselves, as container runtimes do to protect themselves, are left out by name.
-- next_steps: keep a copy of the program, find what wrote it (download, web server, archive), and look for its parent's
--   other children.
-- allow: lateness-over-size
INSERT INTO alerts
SELECT 'exec_from_memory' AS detection, host_id, concat('pid ', pid, ' ', exe) AS entity, last_seen AS time,
       CASE WHEN starts_with(exe, '/dev/shm/') OR exe_fs_type = 'memfd' THEN 0.9 ELSE 0.6 END AS confidence,
       execs, euid
FROM (SELECT host_id, pid, exe, exe_fs_type, euid, tumble(observed_at, INTERVAL '1 second') AS win, max(observed_at) AS last_seen, count(*) AS execs
      FROM processes
      WHERE kind = 'PROCESS_EVENT_KIND_EXEC'
        AND NOT starts_with(exe, '/memfd:runc_cloned:') AND NOT starts_with(exe, '/memfd:sealed-')
        AND (exe_fs_type = 'memfd' OR starts_with(exe, '/dev/shm/') OR starts_with(exe, '/tmp/')
             OR starts_with(exe, '/var/tmp/') OR starts_with(exe, '/run/shm/'))
      GROUP BY host_id, pid, exe, exe_fs_type, euid, win);
