-- refused: 1:1 «INSERT INTO per_s» `per_s` is no table that can be inserted into; insert into a CREATE EXTERNAL TABLE … STORED AS PROTOBUF, JSON or ARROW (files: PARQUET or CSV)
INSERT INTO per_s SELECT k, c FROM per_s;
