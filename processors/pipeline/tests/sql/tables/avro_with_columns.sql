-- refused: 1:36 «STORED AS AVRO» STORED AS AVRO takes its columns from the schema; leave the column list out
CREATE EXTERNAL TABLE x (a BIGINT) STORED AS AVRO LOCATION 'x' OPTIONS (schema '../../docs/examples/login.avsc');
