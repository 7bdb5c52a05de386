-- refused: 1:54 «LOCATION» a stream has one LOCATION: the name of its topic
CREATE EXTERNAL TABLE x (t TIMESTAMP) STORED AS JSON LOCATION ('a', 'b');
