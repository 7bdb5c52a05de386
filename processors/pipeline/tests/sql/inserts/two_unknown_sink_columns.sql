-- refused: 1:30 «AS cc» `sink` has no column `cc`; did you mean `c`?
-- refused: 1:37 «a» `sink` has no column `a`; did you mean `c`?
INSERT INTO sink SELECT k, c AS cc, a FROM per_s;
