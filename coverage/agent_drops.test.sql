-- test: an agent gives events up, one did so from its start, and the kernel lost messages of a third
INSERT INTO agent_status (_log_time, agent_id, observed_at, started_at, uptime_seconds, events_dropped, kernel_lost) VALUES
  ('12:00:10', 'a', '12:00:10', '09:00:00', 10810, 7, 3), ('12:00:15', 'b', '12:00:15', '12:00:14', 1, 20, 0), ('12:00:20', 'c', '12:00:20', '11:00:00', 3620, 5, 5),
  ('12:00:40', 'a', '12:00:40', '09:00:00', 10840, 12, 3), ('12:00:45', 'b', '12:00:45', '12:00:14', 31, 20, 0), ('12:00:50', 'c', '12:00:50', '11:00:00', 3650, 5, 9);
-- advance: 10m
SELECT detection, entity, severity, confidence, technique, title, features['dropped_events'] AS dropped, features['kernel_lost_messages'] AS lost, count(*) AS told
FROM alerts WHERE detection = 'agent_drops' GROUP BY detection, entity, severity, confidence, technique, title, dropped, lost ORDER BY entity;
-- | detection   | entity | severity | confidence | technique | title                                                | dropped | lost | told |
-- |-------------|--------|----------|------------|-----------|------------------------------------------------------|---------|------|------|
-- | agent_drops | a      | HIGH     | 0.8        | T1562.006 | an agent gave up events, or the kernel did before it | 5.0     | 0.0  | 2    |
-- | agent_drops | b      | HIGH     | 0.8        | T1562.006 | an agent gave up events, or the kernel did before it | 20.0    | 0.0  | 2    |
-- | agent_drops | c      | HIGH     | 0.8        | T1562.006 | an agent gave up events, or the kernel did before it | 0.0     | 4.0  | 2    |

-- test: what was given up long ago, and a start that begins to count anew, are nothing new
INSERT INTO agent_status (_log_time, agent_id, observed_at, started_at, uptime_seconds, events_dropped, kernel_lost) VALUES
  ('12:00:10', 'a', '12:00:10', '09:00:00', 10810, 900, 3), ('12:00:40', 'a', '12:00:40', '09:00:00', 10840, 900, 3),
  ('12:00:50', 'a', '12:00:50', '12:00:49', 1, 0, 0), ('12:01:20', 'a', '12:01:20', '12:00:49', 31, 0, 0);
-- advance: 10m
SELECT entity FROM alerts WHERE detection = 'agent_drops';
-- | entity |
-- |--------|
