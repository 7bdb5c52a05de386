-- refused: 1:25 «sqrt(win)» `sqrt` does not take (STRUCT(start TIMESTAMP, end TIMESTAMP))
CREATE VIEW w AS SELECT sqrt(win) AS x FROM per_s;
