-- refused: 1:53 «'mine'» the message in topic 'mine' is not known; add OPTIONS (message 'package.Name')
CREATE EXTERNAL TABLE x STORED AS PROTOBUF LOCATION 'mine';
