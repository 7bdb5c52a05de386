-- refused: 1:96 «event_time 'receivedAt'» event_time 'receivedAt' is no column of `x`; list the column as "receivedAt", in double quotes: SQL takes other names in small letters
CREATE EXTERNAL TABLE x (receivedAt TIMESTAMP, k VARCHAR) STORED AS JSON LOCATION 'x' OPTIONS (event_time 'receivedAt', lateness '1s');
