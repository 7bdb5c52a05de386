-- All system calls as numbers: a row for each process and call, each second, where an agent counts them (`[syscall]` `activity = "on"`).
CREATE EXTERNAL TABLE syscall_activity STORED AS ENVELOPE LOCATION 'amoskys.telemetry.syscall_activity.v1'
OPTIONS (event_time 'observed_at', lateness '2s', idle '3s', partition_key 'host_id');
