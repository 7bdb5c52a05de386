-- What agents say of where a process came from, as SQL sees it.
CREATE EXTERNAL TABLE started STORED AS ENVELOPE LOCATION 'started'
OPTIONS (message 'amoskys.v1.ProcessBatch', event_time 'observed_at', lateness '1s', partition_key 'host_id');
CREATE EXTERNAL TABLE out_lineage (process TEXT, login_uid BIGINT, tty TEXT, parent TEXT, by_ssh BOOLEAN, preload TEXT, masked TEXT[])
STORED AS JSON LOCATION 'out.lineage';

INSERT INTO out_lineage
SELECT concat_ws(' ', host_id, boot_id, process_key) AS process, login_uid, tty, ancestors[1] AS parent,
       array_has(ancestors, '/usr/sbin/sshd') AS by_ssh, environment['LD_PRELOAD'] AS preload, masked
FROM started WHERE kind = 'PROCESS_EVENT_KIND_EXEC' AND exe <> '' AND package = '';
