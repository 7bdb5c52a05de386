-- refused: 1:27 «,» Expected: an expression, found: ,
CREATE VIEW w AS SELECT k,, v FROM ev;
