-- refused: 1:73 «on_error 'deadleter'» on_error 'deadleter' is not known; did you mean `deadletter`? there are deadletter, null, stop
CREATE EXTERNAL TABLE x (a BIGINT) STORED AS JSON LOCATION 'x' OPTIONS (on_error 'deadleter');
