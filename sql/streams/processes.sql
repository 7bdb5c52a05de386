-- What agents say of processes: snapshots, forks, execs and exits, a row for each.
CREATE EXTERNAL TABLE processes STORED AS ENVELOPE LOCATION 'amoskys.telemetry.process.v1'
OPTIONS (event_time 'observed_at', lateness '2s', idle '3s', partition_key 'host_id');
