-- title: a process became root without a set-user-id program
-- technique: T1068
-- false_positives: services that start as root through a helper that holds CAP_SETUID; the agent missing the parent's
--   own change of user.
-- next_steps: find how the parent came to run, keep its memory, look for kernel messages at that time, and isolate the
--   host if nothing explains it.
-- allow: lateness-over-size
INSERT INTO alerts
SELECT 'privilege_gained' AS detection, host_id, concat('pid ', pid, ' ', exe) AS entity, last_seen AS time,
       0.8 AS confidence, execs, uid, parent_euid
FROM (SELECT host_id, pid, exe, uid, parent_euid, tumble(observed_at, INTERVAL '1 second') AS win, max(observed_at) AS last_seen, count(*) AS execs
      FROM processes
      WHERE kind = 'PROCESS_EVENT_KIND_EXEC' AND euid = 0 AND parent_euid <> 0 AND NOT exe_setuid
        AND parent_comm <> '' AND exe <> ''
      GROUP BY host_id, pid, exe, uid, parent_euid, win);
