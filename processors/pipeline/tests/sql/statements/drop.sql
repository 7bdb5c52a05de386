-- refused: 1:1 «DROP» only CREATE EXTERNAL TABLE, CREATE VIEW and INSERT INTO belong into these files
DROP VIEW per_s;
