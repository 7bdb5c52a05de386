-- refused: 1:1 «COPY» only CREATE EXTERNAL TABLE, CREATE VIEW and INSERT INTO belong into these files
COPY ev TO 'out.parquet' STORED AS PARQUET;
