-- refused: 1:23 «RECURSIVE» a query that reads itself may have no end; write each step as a view of its own, that reads the one before
CREATE VIEW x AS WITH RECURSIVE r AS (SELECT k, c FROM per_s UNION ALL SELECT k, c FROM r) SELECT * FROM r;
