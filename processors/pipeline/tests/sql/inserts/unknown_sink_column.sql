-- refused: 1:30 «AS cc» `sink` has no column `cc`; did you mean `c`?
INSERT INTO sink SELECT k, c AS cc FROM per_s;
