-- refused: 1:1 «CREATE EXTERNAL TABLE x» Missing LOCATION clause in CREATE EXTERNAL TABLE statement; add LOCATION and the name of the topic
CREATE EXTERNAL TABLE x (a BIGINT) STORED AS JSON;
