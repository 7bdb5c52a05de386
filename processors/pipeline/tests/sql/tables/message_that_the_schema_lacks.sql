-- refused: 1:115 «'acme.Dor'» message 'acme.Dor' is not known; did you mean `acme.Door`?
CREATE EXTERNAL TABLE x STORED AS PROTOBUF LOCATION 'x' OPTIONS (schema '../../docs/examples/door.proto', message 'acme.Dor');
