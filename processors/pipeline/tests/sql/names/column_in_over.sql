-- refused: 1:67 «cc» column `cc` is not known; did you mean `c`?
CREATE VIEW w AS SELECT k, rank() OVER (PARTITION BY win ORDER BY cc) AS place FROM per_s;
