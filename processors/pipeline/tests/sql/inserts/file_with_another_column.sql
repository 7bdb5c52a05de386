-- refused: 2:30 «AS kk» `lake` has no column `kk`; did you mean `k`?
CREATE EXTERNAL TABLE lake (k VARCHAR, c BIGINT) STORED AS PARQUET LOCATION 'lake.parquet';
INSERT INTO lake SELECT c, k AS kk FROM per_s;
