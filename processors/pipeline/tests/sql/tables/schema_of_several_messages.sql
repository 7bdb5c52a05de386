-- refused: 1:53 «'x'» the message in topic 'x' is not known; add OPTIONS (message 'package.Name')
CREATE EXTERNAL TABLE x STORED AS PROTOBUF LOCATION 'x' OPTIONS (schema '../../docs/schemas/door.proto');
