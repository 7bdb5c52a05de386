-- refused: 1:118 «partition_key 'kk'» partition_key 'kk' is no column of `x`; did you mean `k`?
CREATE EXTERNAL TABLE x (t TIMESTAMP, k VARCHAR) STORED AS JSON LOCATION 'x' OPTIONS (event_time 't', lateness '1s', partition_key 'kk');
