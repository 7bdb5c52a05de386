-- Where the features of process activity are published, for models, dashboards and people who look into an alert.
CREATE EXTERNAL TABLE process_features STORED AS PROTOBUF LOCATION 'amoskys.features.process_activity.v1'
OPTIONS (partition_key 'host_id');
