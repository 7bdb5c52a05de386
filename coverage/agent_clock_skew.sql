-- title: the clock of an agent's host is wrong
-- technique: T1070.006
-- false_positives: a host that has just started and has not heard its time server yet.
-- next_steps: compare the host's time with others', see whether its time service runs and who changed the time. Until then events of the
--   host are late, or kept apart where they are more than max_skew ahead.
-- What comes late out of a write-ahead log is as old as a clock that is behind. So the status that came soonest counts: once the log has
-- been written up, one of the window is new.
INSERT INTO alerts
SELECT 'agent_clock_skew' AS detection, host_id, agent_id AS entity, last_seen AS time, 0.7 AS confidence,
       CASE WHEN least_ms < 0 THEN -least_ms ELSE 0 END AS ahead_ms, CASE WHEN least_ms > 0 THEN least_ms ELSE 0 END AS behind_ms
FROM (SELECT host_id, agent_id, tumble(_log_time, INTERVAL '5 minutes') AS win,
             min((CAST(_log_time AS BIGINT) - CAST(observed_at AS BIGINT)) / 1000000) AS least_ms, count(*) AS statuses,
             max(_log_time) AS last_seen
      FROM agent_status GROUP BY host_id, agent_id, win)
WHERE statuses > 1 AND (least_ms > 30000 OR least_ms < -10000);
