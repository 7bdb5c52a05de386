-- refused: 1:118 «idle '0s'» idle '0s' is no duration; write for example '2s', '500ms' or '1m'
CREATE EXTERNAL TABLE x (t TIMESTAMP, k VARCHAR) STORED AS JSON LOCATION 'x' OPTIONS (event_time 't', lateness '1s', idle '0s');
