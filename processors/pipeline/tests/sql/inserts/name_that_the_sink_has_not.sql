-- refused: 1:22 «d» `sink` has no column `d`; did you mean `c`?
INSERT INTO sink (k, d) SELECT k, c FROM per_s;
