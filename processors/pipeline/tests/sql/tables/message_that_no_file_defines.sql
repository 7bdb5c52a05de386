-- refused: 1:74 «'acme.Door'» message 'acme.Door' is not known; add schema 'file.proto', or a set of descriptors, that defines it
CREATE EXTERNAL TABLE x STORED AS PROTOBUF LOCATION 'x' OPTIONS (message 'acme.Door');
