-- refused: 1:104 «INSERT INTO x» `x` is STORED AS AVRO, which is only read; insert into a CREATE EXTERNAL TABLE … STORED AS PROTOBUF, JSON or ARROW (files: PARQUET or CSV)
CREATE EXTERNAL TABLE x STORED AS AVRO LOCATION 'x' OPTIONS (schema '../../docs/examples/login.avsc'); INSERT INTO x SELECT k AS host FROM per_s;
