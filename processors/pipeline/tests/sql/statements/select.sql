-- refused: 1:1 «SELECT» only CREATE EXTERNAL TABLE, CREATE VIEW and INSERT INTO belong into these files
SELECT 1;
