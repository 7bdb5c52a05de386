-- refused: 1:118 «keys_max '0'» keys_max '0' is no number of keys; write for example '100000'
CREATE EXTERNAL TABLE x (t TIMESTAMP, k VARCHAR) STORED AS JSON LOCATION 'x' OPTIONS (event_time 't', lateness '1s', keys_max '0');
