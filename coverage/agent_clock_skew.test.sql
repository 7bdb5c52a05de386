-- test: a clock an hour behind, one twenty seconds ahead, and one that is right
INSERT INTO agent_status (_log_time, agent_id, observed_at) VALUES
  ('12:00:10', 'behind', '11:00:10'), ('12:00:11', 'ahead', '12:00:31'), ('12:00:12', 'right', '12:00:12'),
  ('12:00:40', 'behind', '11:00:40'), ('12:00:41', 'ahead', '12:01:01'), ('12:00:42', 'right', '12:00:41');
-- advance: 10m
SELECT detection, entity, time, severity, confidence, technique, title, features['ahead_ms'] AS ahead_ms, features['behind_ms'] AS behind_ms
FROM alerts WHERE detection = 'agent_clock_skew' ORDER BY entity;
-- | detection        | entity | time                | severity | confidence | technique | title                                 | ahead_ms | behind_ms |
-- |------------------|--------|---------------------|----------|------------|-----------|---------------------------------------|----------|-----------|
-- | agent_clock_skew | ahead  | 2026-01-01 12:00:41 | HIGH     | 0.7        | T1070.006 | the clock of an agent's host is wrong | 20000.0  | 0.0       |
-- | agent_clock_skew | behind | 2026-01-01 12:00:40 | HIGH     | 0.7        | T1070.006 | the clock of an agent's host is wrong | 0.0      | 3600000.0 |

-- test: what was kept while the log was away is old and no skew, and neither is a single status
INSERT INTO agent_status (_log_time, agent_id, observed_at) VALUES
  ('12:00:10', 'a', '11:50:10'), ('12:00:10', 'a', '11:50:40'), ('12:00:11', 'a', '12:00:10'), ('12:00:12', 'b', '11:30:00');
-- advance: 10m
SELECT entity FROM alerts WHERE detection = 'agent_clock_skew';
-- | entity |
-- |--------|
