-- refused: 1:118 «idle '0s'» idle '0s' is no time at all; write idle '1ms' where that is what is meant
CREATE EXTERNAL TABLE x (t TIMESTAMP, k VARCHAR) STORED AS JSON LOCATION 'x' OPTIONS (event_time 't', lateness '1s', idle '0s');
