-- refused: 3:34 «lake» `lake` is a file that these files insert into, so it is not read here; read what is inserted, or the file by SQL of its own when it is there
CREATE EXTERNAL TABLE lake (k VARCHAR, c BIGINT) STORED AS PARQUET LOCATION 'lake.parquet';
INSERT INTO lake SELECT c, k FROM per_s;
INSERT INTO sink SELECT per_s.k, lake.c FROM per_s JOIN lake ON per_s.k = lake.k;
