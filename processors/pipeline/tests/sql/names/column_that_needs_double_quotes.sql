-- refused: 2:25 «srcIp» column `srcip` is not known; write "srcIp" in double quotes: SQL takes other names in small letters
CREATE EXTERNAL TABLE x ("srcIp" VARCHAR, t TIMESTAMP) STORED AS JSON LOCATION 'x' OPTIONS (event_time 't', lateness '1s');
INSERT INTO sink SELECT srcIp AS k FROM x;
