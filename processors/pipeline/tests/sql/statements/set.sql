-- refused: 1:1 «SET» only CREATE EXTERNAL TABLE, CREATE VIEW and INSERT INTO belong into these files
SET datafusion.execution.batch_size = 1;
