-- refused: 1:74 «record_rows_max '0'» record_rows_max '0' is no number of rows of a record, which has 1 to 65536; write for example '1000'
CREATE EXTERNAL TABLE x (a BIGINT) STORED AS ARROW LOCATION 'x' OPTIONS (record_rows_max '0');
