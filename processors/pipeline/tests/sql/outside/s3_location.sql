-- refused: 1:63 «'s3://bucket/list.parquet'» LOCATION 's3://bucket/list.parquet' is not on this machine, and nothing is fetched from elsewhere; copy the file here and name its path
CREATE EXTERNAL TABLE x (a BIGINT) STORED AS PARQUET LOCATION 's3://bucket/list.parquet';
