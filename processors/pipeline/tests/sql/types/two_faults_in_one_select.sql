-- refused: 2:8 «sqrt(win)» `sqrt` does not take (STRUCT(start TIMESTAMP, end TIMESTAMP))
-- refused: 2:25 «k» `-` does not take VARCHAR
CREATE VIEW w AS
SELECT sqrt(win) AS x, -k AS y
FROM per_s;
