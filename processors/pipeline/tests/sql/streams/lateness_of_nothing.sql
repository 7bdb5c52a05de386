-- refused: 1:94 «lateness '0s'» lateness '0s' is no time at all; write lateness '1ms' where that is what is meant
CREATE EXTERNAL TABLE q (at TIMESTAMP) STORED AS JSON LOCATION 'q' OPTIONS (event_time 'at', lateness '0s');
