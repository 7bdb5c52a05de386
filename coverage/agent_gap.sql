-- An agent numbers its envelopes of each topic 1, 2, 3 …, and they come in this order. Windows overlap by two minutes, so a gap is told of
-- twice at most. Envelopes that are further apart than that, as of system calls on a quiet host, are not compared.
-- title: telemetry of an agent is missing in the log
-- technique: T1562.006
-- false_positives: an agent whose write-ahead log was damaged and cut (its metric wal_torn_batches_total says so): of the other topics
--   a number is left out, and nothing is missing. A log whose retention is shorter than what is read.
-- next_steps: look at agent_drops of the same agent, which says what the agent gave up itself; if there is none, somebody
--   deletes or withholds records between the agent and the log.
-- allow: exact-distinct
INSERT INTO alerts
SELECT 'agent_gap' AS detection, host_id, concat(agent_id, ': process') AS entity, last_seen AS time, 0.9 AS confidence,
       missing AS missing_envelopes, envelopes
FROM (SELECT host_id, agent_id, boot_id, hop(_log_time, INTERVAL '2 minutes', INTERVAL '4 minutes') AS win,
             count(DISTINCT sequence) AS envelopes, max(sequence) - min(sequence) + 1 - count(DISTINCT sequence) AS missing,
             max(_log_time) AS last_seen
      FROM process_envelopes GROUP BY host_id, agent_id, boot_id, win)
WHERE missing > 0;

-- title: telemetry of an agent is missing in the log
-- technique: T1562.006
-- false_positives: an agent whose write-ahead log was damaged and cut (its metric wal_torn_batches_total says so): of the other topics
--   a number is left out, and nothing is missing. A log whose retention is shorter than what is read.
-- next_steps: look at agent_drops of the same agent, which says what the agent gave up itself; if there is none, somebody
--   deletes or withholds records between the agent and the log.
-- allow: exact-distinct
INSERT INTO alerts
SELECT 'agent_gap' AS detection, host_id, concat(agent_id, ': syscall') AS entity, last_seen AS time, 0.9 AS confidence,
       missing AS missing_envelopes, envelopes
FROM (SELECT host_id, agent_id, boot_id, hop(_log_time, INTERVAL '2 minutes', INTERVAL '4 minutes') AS win,
             count(DISTINCT sequence) AS envelopes, max(sequence) - min(sequence) + 1 - count(DISTINCT sequence) AS missing,
             max(_log_time) AS last_seen
      FROM syscall_envelopes GROUP BY host_id, agent_id, boot_id, win)
WHERE missing > 0;

-- title: telemetry of an agent is missing in the log
-- technique: T1562.006
-- false_positives: an agent whose write-ahead log was damaged and cut (its metric wal_torn_batches_total says so): of the other topics
--   a number is left out, and nothing is missing. A log whose retention is shorter than what is read.
-- next_steps: look at agent_drops of the same agent, which says what the agent gave up itself; if there is none, somebody
--   deletes or withholds records between the agent and the log.
-- allow: exact-distinct
INSERT INTO alerts
SELECT 'agent_gap' AS detection, host_id, concat(agent_id, ': activity') AS entity, last_seen AS time, 0.9 AS confidence,
       missing AS missing_envelopes, envelopes
FROM (SELECT host_id, agent_id, boot_id, hop(_log_time, INTERVAL '2 minutes', INTERVAL '4 minutes') AS win,
             count(DISTINCT sequence) AS envelopes, max(sequence) - min(sequence) + 1 - count(DISTINCT sequence) AS missing,
             max(_log_time) AS last_seen
      FROM activity_envelopes GROUP BY host_id, agent_id, boot_id, win)
WHERE missing > 0;

-- title: telemetry of an agent is missing in the log
-- technique: T1562.006
-- false_positives: an agent whose write-ahead log was damaged and cut (its metric wal_torn_batches_total says so): of the other topics
--   a number is left out, and nothing is missing. A log whose retention is shorter than what is read.
-- next_steps: look at agent_drops of the same agent, which says what the agent gave up itself; if there is none, somebody
--   deletes or withholds records between the agent and the log.
-- allow: exact-distinct
INSERT INTO alerts
SELECT 'agent_gap' AS detection, host_id, concat(agent_id, ': status') AS entity, last_seen AS time, 0.9 AS confidence,
       missing AS missing_envelopes, envelopes
FROM (SELECT host_id, agent_id, boot_id, hop(_log_time, INTERVAL '2 minutes', INTERVAL '4 minutes') AS win,
             count(DISTINCT sequence) AS envelopes, max(sequence) - min(sequence) + 1 - count(DISTINCT sequence) AS missing,
             max(_log_time) AS last_seen
      FROM agent_status GROUP BY host_id, agent_id, boot_id, win)
WHERE missing > 0;
