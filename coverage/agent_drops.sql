-- title: an agent gave up events, or the kernel did before it
-- technique: T1562.006
-- false_positives: a limit for single processes that is meant to leave something out; a disk or a write-ahead log that is too small.
-- next_steps: the agent's metric dropped_events_total says the reason (queue, write-ahead log, disk, limit); what floods the
--   host may be there to hide something else.
-- Counters are of one start of the agent. Statuses come every 30 s and windows overlap by a minute, so what is given up between two of
-- them is told of once or twice.
INSERT INTO alerts
SELECT 'agent_drops' AS detection, host_id, agent_id AS entity, last_seen AS time, 0.8 AS confidence,
       dropped AS dropped_events, kernel_lost AS kernel_lost_messages
FROM (SELECT host_id, agent_id, started_at, hop(_log_time, INTERVAL '1 minute', INTERVAL '2 minutes') AS win,
             -- Before the first status of a start there was nothing.
             max(events_dropped) - CASE WHEN min(uptime_seconds) < 60 THEN 0 ELSE min(events_dropped) END AS dropped,
             max(agent_status.kernel_lost) - CASE WHEN min(uptime_seconds) < 60 THEN 0 ELSE min(agent_status.kernel_lost) END AS kernel_lost,
             max(_log_time) AS last_seen
      FROM agent_status GROUP BY host_id, agent_id, started_at, win)
WHERE dropped > 0 OR kernel_lost > 0;
