-- What agents say of system calls: which are told, and of whom, is the agent's configuration (`[syscall]`), a row for each.
CREATE EXTERNAL TABLE syscalls STORED AS ENVELOPE LOCATION 'amoskys.telemetry.syscall.v1'
OPTIONS (event_time 'observed_at', lateness '2s', idle '3s', partition_key 'host_id');
