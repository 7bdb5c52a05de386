-- refused: 1:33 «FROM» Expected: ), found: FROM
CREATE VIEW w AS SELECT lower(k FROM ev;
