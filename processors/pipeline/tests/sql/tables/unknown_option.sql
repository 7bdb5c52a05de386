-- refused: 1:87 «latenes» option `latenes` is not known; did you mean `lateness`? there are event_time, lateness, idle, max_skew, replay_max, retention, partition_key, keys_max, state_bytes_max, message, schema, registry, subject, on_error, record_rows_max
CREATE EXTERNAL TABLE x (t TIMESTAMP, k VARCHAR) STORED AS JSON LOCATION 'x' OPTIONS (latenes '1s');
