-- refused: 1:87 «'idel'» option `idel` is not known; did you mean `idle`? there are event_time, lateness, idle, max_skew, replay_max, retention, partition_key, keys_max, state_bytes_max, message, schema, registry, subject, on_error, record_rows_max
CREATE EXTERNAL TABLE x (t TIMESTAMP, k VARCHAR) STORED AS JSON LOCATION 'x' OPTIONS ('idel' '1s');
