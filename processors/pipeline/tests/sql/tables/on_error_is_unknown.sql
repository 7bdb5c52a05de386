-- refused: 1:73 «on_error 'deadleter'» on_error 'deadleter' is not known; write 'deadletter' (set aside, the default), 'null' (JSON: that column is null) or 'stop'
CREATE EXTERNAL TABLE x (a BIGINT) STORED AS JSON LOCATION 'x' OPTIONS (on_error 'deadleter');
