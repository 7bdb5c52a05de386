-- refused: 1:62 «schema '../../docs/examples/door.proto'» ../../docs/examples/door.proto is not an Avro schema of a record: Invalid Avro schema JSON: expected value at line 1 column 1
CREATE EXTERNAL TABLE x STORED AS AVRO LOCATION 'x' OPTIONS (schema '../../docs/examples/door.proto');
