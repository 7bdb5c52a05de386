-- Where detections write. Columns that an alert has no field for become its features, if they are numbers.
CREATE EXTERNAL TABLE alerts STORED AS PROTOBUF LOCATION 'amoskys.alerts.v1'
OPTIONS (partition_key 'host_id');
