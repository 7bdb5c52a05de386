-- refused: 1:66 «schema 'tests/sql/broken.proto'» tests/sql/broken.proto does not compile: broken.proto:5:3: name 'strin' is not defined
CREATE EXTERNAL TABLE x STORED AS PROTOBUF LOCATION 'x' OPTIONS (schema 'tests/sql/broken.proto');
