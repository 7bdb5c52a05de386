-- refused: 1:62 «registry 'http://127.0.0.1:1'» schema registry http://127.0.0.1:1 does not answer: io: Connection refused (os error 111)
CREATE EXTERNAL TABLE x STORED AS AVRO LOCATION 'x' OPTIONS (registry 'http://127.0.0.1:1');
