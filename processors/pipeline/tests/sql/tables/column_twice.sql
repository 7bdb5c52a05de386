-- refused: 1:26 «a» there are two columns `a`; give one of them another name: … AS a_2
CREATE EXTERNAL TABLE x (a BIGINT, a DOUBLE) STORED AS JSON LOCATION 'x';
