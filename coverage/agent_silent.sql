-- title: an agent says nothing any more
-- technique: T1562.001
-- false_positives: a host or an agent that was ended on purpose; an agent whose status_interval is longer than a minute.
-- next_steps: see whether the host is up and the agent runs; a host that is up with an agent that was killed is not watched.
-- Statuses come every 30 s. Told once for each silence, when it has lasted for two to three minutes.
INSERT INTO alerts
SELECT 'agent_silent' AS detection, host_id, agent_id AS entity, last_seen AS time, 0.8 AS confidence, statuses
FROM (SELECT host_id, agent_id, hop(_log_time, INTERVAL '1 minute', INTERVAL '5 minutes') AS win, count(*) AS statuses,
             max(_log_time) AS last_seen
      FROM agent_status GROUP BY host_id, agent_id, win)
WHERE last_seen < win.end - INTERVAL '2 minutes' AND last_seen >= win.end - INTERVAL '3 minutes';
