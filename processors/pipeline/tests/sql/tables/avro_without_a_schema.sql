-- refused: 1:25 «STORED AS AVRO» STORED AS AVRO needs the schema of its records; add schema 'file.avsc' or registry 'http://…'
CREATE EXTERNAL TABLE x STORED AS AVRO LOCATION 'x';
