-- refused: 2:10 «event_time 'tt'» event_time 'tt' is no column of `x`; did you mean `t`?
-- refused: 2:27 «lateness 'soon'» lateness 'soon' is no duration; write for example '2s', '500ms' or '1m'
-- refused: 2:44 «idel» option `idel` is not known; did you mean `idle`? there are event_time, lateness, idle, max_skew, replay_max, retention, partition_key, keys_max, state_bytes_max, message, schema, registry, subject, on_error, record_rows_max
-- refused: 2:55 «partition_key 'kk'» partition_key 'kk' is no column of `x`; did you mean `k`?
-- refused: 2:75 «keys_max '-1'» keys_max '-1' is no number of keys; write for example '100000'
CREATE EXTERNAL TABLE x (t TIMESTAMP, k VARCHAR) STORED AS JSON LOCATION 'x'
OPTIONS (event_time 'tt', lateness 'soon', idel '5s', partition_key 'kk', keys_max '-1');
