-- test: two envelopes of processes are missing, one of them between two windows
INSERT INTO process_envelopes (_log_time, sequence, observed_at, pid) VALUES
  ('12:00:10', 41, '12:00:09', 1), ('12:00:20', 42, '12:00:19', 1), ('12:01:58', 43, '12:01:57', 1), ('12:02:10', 45, '12:02:09', 1),
  ('12:02:20', 46, '12:02:19', 1), ('12:03:00', 48, '12:02:59', 1);
-- advance: 10m
SELECT detection, entity, time, severity, confidence, technique, title, features['missing_envelopes'] AS missing
FROM alerts ORDER BY time, missing;
-- | detection | entity         | time                | severity | confidence | technique | title                                       | missing |
-- |-----------|----------------|---------------------|----------|------------|-----------|---------------------------------------------|---------|
-- | agent_gap | agent: process | 2026-01-01 12:03:00 | CRITICAL | 0.9        | T1562.006 | telemetry of an agent is missing in the log | 1.0     |
-- | agent_gap | agent: process | 2026-01-01 12:03:00 | CRITICAL | 0.9        | T1562.006 | telemetry of an agent is missing in the log | 2.0     |

-- test: envelopes of several events, of two agents, of two boots, in three topics, and one that came twice are no gap
INSERT INTO process_envelopes (_log_time, agent_id, boot_id, sequence, observed_at, pid) VALUES
  ('12:00:10', 'a', 'first', 7, '12:00:09', 1), ('12:00:10', 'a', 'first', 7, '12:00:09', 2), ('12:00:11', 'b', 'x', 90, '12:00:09', 1),
  ('12:00:12', 'a', 'first', 8, '12:00:09', 2), ('12:00:40', 'a', 'second', 1, '12:00:39', 1), ('12:00:41', 'b', 'x', 91, '12:00:40', 1),
  ('12:00:42', 'a', 'second', 2, '12:00:41', 1), ('12:00:50', 'a', 'first', 8, '12:00:09', 2);
INSERT INTO syscall_envelopes (_log_time, agent_id, boot_id, sequence, observed_at, pid) VALUES
  ('12:00:10', 'a', 'first', 500, '12:00:09', 1), ('12:00:11', 'a', 'first', 501, '12:00:10', 1);
INSERT INTO agent_status (_log_time, agent_id, boot_id, sequence, observed_at) VALUES
  ('12:00:00', 'a', 'first', 3, '12:00:00'), ('12:00:30', 'a', 'first', 4, '12:00:30');
-- advance: 10m
SELECT detection, entity, time FROM alerts WHERE detection = 'agent_gap';
-- | detection | entity | time |
-- |-----------|--------|------|

-- test: a status, a batch of system calls and one of numbers are missing
INSERT INTO syscall_envelopes (_log_time, sequence, observed_at, pid) VALUES ('12:00:10', 1, '12:00:09', 1), ('12:00:30', 3, '12:00:09', 1);
INSERT INTO activity_envelopes (_log_time, sequence, observed_at, pid) VALUES ('12:00:10', 7, '12:00:09', 1), ('12:00:11', 9, '12:00:10', 1);
INSERT INTO agent_status (_log_time, sequence, observed_at) VALUES ('12:00:00', 3, '12:00:00'), ('12:00:50', 5, '12:00:50');
-- advance: 10m
SELECT entity, features['missing_envelopes'] AS missing, features['envelopes'] AS envelopes, count(*) AS told
FROM alerts WHERE detection = 'agent_gap' GROUP BY entity, missing, envelopes ORDER BY entity;
-- | entity          | missing | envelopes | told |
-- |-----------------|---------|-----------|------|
-- | agent: activity | 1.0     | 2.0       | 2    |
-- | agent: status   | 1.0     | 2.0       | 2    |
-- | agent: syscall  | 1.0     | 2.0       | 2    |
