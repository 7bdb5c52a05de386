-- refused: 1:68 «PARTITIONED BY» PARTITIONED BY of `lake`, a file that is inserted into; leave it out: rows stand in one file, as they come
CREATE EXTERNAL TABLE lake (k VARCHAR, c BIGINT) STORED AS PARQUET PARTITIONED BY (k) LOCATION 'lake.parquet';
INSERT INTO lake SELECT c, k FROM per_s;
