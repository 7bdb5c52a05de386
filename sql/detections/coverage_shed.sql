-- title: the processor left telemetry out because a bound was reached
-- technique: T1562.006
-- false_positives: a bound that is too low for the hosts of a partition; a new kind of host with far more processes.
-- next_steps: find which host made so many keys (the features of the others are whole), look at what it ran, as a flood may
--   be there to hide something else, and raise keys_max or state_bytes_max of the stream if it is what is usual now.
INSERT INTO alerts
SELECT 'coverage_shed' AS detection, host_id, 'process_activity' AS entity, last_seen AS time, 0.5 AS confidence,
       shed_rows_most
FROM (SELECT host_id, tumble(win.end, INTERVAL '1 minute') AS minute, max(last_seen) AS last_seen, max(shed) AS shed_rows_most
      FROM process_activity WHERE shed > 0 GROUP BY host_id, minute);
