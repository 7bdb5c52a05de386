-- test: an agent ends while another goes on
INSERT INTO agent_status (_log_time, agent_id, observed_at) VALUES
  ('12:00:00', 'a', '12:00:00'), ('12:00:30', 'a', '12:00:30'), ('12:00:31', 'b', '12:00:31'), ('12:01:00', 'a', '12:01:00'),
  ('12:01:31', 'b', '12:01:31'), ('12:02:31', 'b', '12:02:31'), ('12:03:31', 'b', '12:03:31'), ('12:04:31', 'b', '12:04:31'),
  ('12:05:31', 'b', '12:05:31'), ('12:06:31', 'b', '12:06:31');
SELECT detection, entity, time, severity, confidence, technique, title FROM alerts ORDER BY time;
-- | detection    | entity | time                | severity | confidence | technique | title                          |
-- |--------------|--------|---------------------|----------|------------|-----------|--------------------------------|
-- | agent_silent | a      | 2026-01-01 12:01:00 | HIGH     | 0.8        | T1562.001 | an agent says nothing any more |

-- test: when nothing comes at all, the clock of the log tells
INSERT INTO agent_status (_log_time, agent_id, observed_at) VALUES ('12:00:00', 'a', '12:00:00'), ('12:00:30', 'a', '12:00:30');
-- advance: 2m
SELECT entity FROM alerts;
-- | entity |
-- |--------|
-- advance: 2m
SELECT entity, time FROM alerts;
-- | entity | time                |
-- |--------|---------------------|
-- | a      | 2026-01-01 12:00:30 |
-- advance: 1h
SELECT entity, time FROM alerts;
-- | entity | time                |
-- |--------|---------------------|
-- | a      | 2026-01-01 12:00:30 |

-- test: statuses that come every minute, and one that is a minute late, are no silence
INSERT INTO agent_status (_log_time, agent_id, observed_at) VALUES
  ('12:00:00', 'a', '12:00:00'), ('12:01:00', 'a', '12:01:00'), ('12:02:59', 'a', '12:02:00'), ('12:03:00', 'a', '12:03:00'), ('12:04:00', 'a', '12:04:00');
SELECT entity FROM alerts;
-- | entity |
-- |--------|
