-- refused: 1:62 «schema 'nowhere.avsc'» nowhere.avsc: No such file or directory (os error 2)
CREATE EXTERNAL TABLE x STORED AS AVRO LOCATION 'x' OPTIONS (schema 'nowhere.avsc');
