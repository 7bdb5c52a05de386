-- refused: 1:66 «schema '../../docs/examples/login.avsc'» ../../docs/examples/login.avsc is no set of protobuf descriptors: failed to decode file descriptor set
CREATE EXTERNAL TABLE x STORED AS PROTOBUF LOCATION 'x' OPTIONS (schema '../../docs/examples/login.avsc', message 'acme.Door');
