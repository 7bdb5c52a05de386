-- refused: 1:103 «lateness '99999999999d'» lateness '99999999999d' is no duration of at most 292 years; write for example '2s', '500ms' or '1m'
CREATE EXTERNAL TABLE x (t TIMESTAMP, k VARCHAR) STORED AS JSON LOCATION 'x' OPTIONS (event_time 't', lateness '99999999999d');
