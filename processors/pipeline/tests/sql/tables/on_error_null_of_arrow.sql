-- refused: 1:74 «on_error 'null'» on_error 'null' is for JSON: ARROW has no wrong values; write 'deadletter' or 'stop'
CREATE EXTERNAL TABLE x (a BIGINT) STORED AS ARROW LOCATION 'x' OPTIONS (on_error 'null');
