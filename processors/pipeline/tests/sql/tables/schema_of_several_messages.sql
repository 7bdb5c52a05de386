-- refused: 1:66 «schema '../../docs/examples/door.proto'» the schema defines several messages; add message '…', one of acme.Place, acme.Door
CREATE EXTERNAL TABLE x STORED AS PROTOBUF LOCATION 'x' OPTIONS (schema '../../docs/examples/door.proto');
