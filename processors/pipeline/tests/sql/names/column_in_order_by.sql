-- refused: 1:50 «cc» column `cc` is not known; did you mean `c`?
INSERT INTO sink SELECT k, c FROM per_s ORDER BY cc LIMIT 3;
