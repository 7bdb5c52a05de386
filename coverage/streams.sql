-- What agents say of themselves, and the envelopes of what they see, by the log's time: an agent's own clock is one of the things that
-- are looked at here. A topic is read by one stream, so these are not among sql/, which reads the same topics by the
-- events' times: start a processor of its own with this folder.
CREATE EXTERNAL TABLE agent_status STORED AS ENVELOPE LOCATION 'amoskys.agent.status.v1'
OPTIONS (event_time '_log_time', lateness '2s', idle '10s', partition_key 'host_id');
CREATE EXTERNAL TABLE process_envelopes STORED AS ENVELOPE LOCATION 'amoskys.telemetry.process.v1'
OPTIONS (event_time '_log_time', lateness '2s', idle '10s', partition_key 'host_id');
CREATE EXTERNAL TABLE syscall_envelopes STORED AS ENVELOPE LOCATION 'amoskys.telemetry.syscall.v1'
OPTIONS (event_time '_log_time', lateness '2s', idle '10s', partition_key 'host_id');
CREATE EXTERNAL TABLE activity_envelopes STORED AS ENVELOPE LOCATION 'amoskys.telemetry.syscall_activity.v1'
OPTIONS (event_time '_log_time', lateness '2s', idle '10s', partition_key 'host_id');
CREATE EXTERNAL TABLE alerts STORED AS PROTOBUF LOCATION 'amoskys.alerts.v1'
OPTIONS (partition_key 'host_id');
