-- title: a program was run out of a memory-backed or world-writable folder
-- technique: T1036.005
-- false_positives: installers and build tools that run helpers from /tmp; programs that use memfd. An installed program that
--   goes on in a sealed copy of itself, as container runtimes do to protect themselves, is left out: by its digest, or by name.
-- next_steps: keep a copy of the program, find what wrote it (download, web server, archive), and look for its parent's
--   other children.
INSERT INTO alerts
SELECT 'exec_from_memory' AS detection, host_id, concat('pid ', pid, ' ', program) AS entity, last_seen AS time,
       CASE WHEN starts_with(program, '/dev/shm/') OR memfds > 0 THEN 0.9 ELSE 0.6 END AS confidence, execs, euid
FROM (SELECT host_id, pid, process_key, hop(observed_at, INTERVAL '1 second', INTERVAL '10 seconds') AS win,
             count(*) FILTER (WHERE odd) AS execs, count(*) FILTER (WHERE odd AND exe_fs_type = 'memfd') AS memfds,
             max(exe) FILTER (WHERE odd) AS program, max(observed_at) FILTER (WHERE odd) AS last_seen, max(euid) FILTER (WHERE odd) AS euid,
             min(exe_sha256) FILTER (WHERE odd) AS least_digest, max(exe_sha256) FILTER (WHERE odd) AS digest,
             -- What the process was before.
             max(exe_sha256) FILTER (WHERE package <> '') AS digest_before, count(*) FILTER (WHERE exe = '/usr/bin/crun') AS was_crun
      FROM (SELECT *, exe_fs_type = 'memfd' OR starts_with(exe, '/dev/shm/') OR starts_with(exe, '/tmp/')
                      OR starts_with(exe, '/var/tmp/') OR starts_with(exe, '/run/shm/') AS odd
            FROM processes
            WHERE kind = 'PROCESS_EVENT_KIND_EXEC'
              AND NOT starts_with(exe, '/memfd:runc_cloned:') AND NOT starts_with(exe, '/memfd:sealed-'))
      WHERE odd OR package <> '' OR exe = '/usr/bin/crun'
      GROUP BY host_id, pid, process_key, win)
-- Windows overlap: only those in whose last second it ran.
WHERE last_seen >= win.end - INTERVAL '1 second'
  -- In memory the very program that the process was before, whatever the copy is called; one that was gone before it could be read is
  -- known by its name.
  AND NOT (memfds = execs AND digest <> '' AND least_digest = digest AND coalesce(digest = digest_before, FALSE))
  AND NOT (digest = '' AND was_crun > 0 AND starts_with(program, '/memfd:crun_cloned:'));
