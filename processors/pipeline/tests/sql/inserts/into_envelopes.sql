-- refused: 1:1 «INSERT INTO processes» `processes` is STORED AS ENVELOPE, which only agents write; insert into a CREATE EXTERNAL TABLE … STORED AS PROTOBUF, JSON or ARROW (files: PARQUET or CSV)
INSERT INTO processes SELECT k AS comm FROM per_s;
