-- refused: 1:118 «state_bytes_max 'much'» state_bytes_max 'much' is no number of bytes; write for example '4GiB' or '500MiB'
CREATE EXTERNAL TABLE x (t TIMESTAMP, k VARCHAR) STORED AS JSON LOCATION 'x' OPTIONS (event_time 't', lateness '1s', state_bytes_max 'much');
