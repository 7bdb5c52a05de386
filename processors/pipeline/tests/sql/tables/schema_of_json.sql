-- refused: 1:73 «schema 'x.proto'» option `schema` is for ENVELOPE, PROTOBUF, AVRO
CREATE EXTERNAL TABLE x (a BIGINT) STORED AS JSON LOCATION 'x' OPTIONS (schema 'x.proto');
