-- refused: 1:103 «lateness '-1s'» lateness '-1s' is no duration; write for example '2s', '500ms' or '1m'
CREATE EXTERNAL TABLE x (t TIMESTAMP, k VARCHAR) STORED AS JSON LOCATION 'x' OPTIONS (event_time 't', lateness '-1s');
