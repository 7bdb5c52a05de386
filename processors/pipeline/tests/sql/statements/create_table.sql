-- refused: 1:1 «CREATE TABLE x» only CREATE EXTERNAL TABLE, CREATE VIEW and INSERT INTO belong into these files
CREATE TABLE x (a BIGINT);
