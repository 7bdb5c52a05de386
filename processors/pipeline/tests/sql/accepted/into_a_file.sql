-- plans
CREATE EXTERNAL TABLE lake (k VARCHAR, c BIGINT, extra DOUBLE) STORED AS PARQUET LOCATION 'lake/part.parquet';
INSERT INTO lake SELECT c, k FROM per_s;
INSERT INTO owners SELECT k AS host FROM per_s;
