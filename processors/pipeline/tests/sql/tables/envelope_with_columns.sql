-- refused: 1:36 «STORED AS ENVELOPE» STORED AS ENVELOPE takes its columns from the message; leave the column list out
CREATE EXTERNAL TABLE x (a BIGINT) STORED AS ENVELOPE LOCATION 'amoskys.telemetry.process.v1';
