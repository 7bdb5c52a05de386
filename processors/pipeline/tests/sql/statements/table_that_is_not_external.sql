-- refused: 1:40 «JSON» Expected: fileformat, found: JSON; a stream is a CREATE EXTERNAL TABLE … STORED AS JSON LOCATION 'topic'
CREATE TABLE x (t TIMESTAMP) STORED AS JSON LOCATION 'x';
