-- refused: 1:73 «registry 'registry:8081'» registry 'registry:8081' is no address; write for example 'http://registry:8081'
CREATE EXTERNAL TABLE x (a BIGINT) STORED AS JSON LOCATION 'x' OPTIONS (registry 'registry:8081');
