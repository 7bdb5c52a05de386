-- title: a burst of discovery commands under one process
-- technique: T1057,T1082,T1033
-- false_positives: login scripts, configuration management and monitoring agents that collect facts about the host;
--   an administrator at work. What root lets cron collect is left out: that somebody gave root's cron a job is told by
--   persistence_file_written.
-- next_steps: read the commands and who ran them, look at how the parent came to run (remote login, web server), and
--   watch the host for what follows discovery.
INSERT INTO alerts
SELECT 'discovery_burst' AS detection, host_id, concat(parent_comm, ' ', parent_pid) AS entity, last_seen AS time,
       confidence, contributions('process_behaviour', *) AS contributions,
       discovery_execs, distinct_discovery, execs, distinct_comm, short_lived, mean_lifetime_us
FROM (SELECT *, predict('process_behaviour', *) AS confidence FROM process_activity)
WHERE confidence >= 0.99
  AND distinct_discovery >= 3
  AND scheduled_execs < execs
  -- windows overlap: only those that end with a new command, so at most one alert a second while it goes on
  AND last_seen >= win.end - INTERVAL '1 second';
