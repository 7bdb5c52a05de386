-- refused: 1:28 «rang()» function `rang` is not known; did you mean `range`?
CREATE VIEW w AS SELECT k, rang() OVER (ORDER BY c) AS place FROM per_s;
