-- refused: 1:36 «STORED AS PROTOBUF» STORED AS PROTOBUF takes its columns from the message; leave the column list out
CREATE EXTERNAL TABLE x (a BIGINT) STORED AS PROTOBUF LOCATION 'amoskys.alerts.v1';
