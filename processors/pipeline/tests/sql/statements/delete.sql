-- refused: 1:1 «DELETE» only CREATE EXTERNAL TABLE, CREATE VIEW and INSERT INTO belong into these files
DELETE FROM ev;
