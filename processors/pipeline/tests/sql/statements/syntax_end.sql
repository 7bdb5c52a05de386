-- refused: 1:27 «FROM» Expected: identifier, found: the end of the statement
CREATE VIEW w AS SELECT k FROM;
