-- refused: 1:73 «record_rows_max '10'» option `record_rows_max` is for ARROW
CREATE EXTERNAL TABLE x (a BIGINT) STORED AS JSON LOCATION 'x' OPTIONS (record_rows_max '10');
