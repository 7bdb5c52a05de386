-- refused: 1:70 «b.kk» column `b.kk` is not known; did you mean `k`?
INSERT INTO sink SELECT a.k, b.c FROM per_s a JOIN others b ON a.k = b.kk;
