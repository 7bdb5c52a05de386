-- refused: 2:6 «per_z» table `per_z` is not known; did you mean `per_s`?
-- refused: 2:22 «otters» table `otters` is not known; did you mean `others`?
INSERT INTO sink SELECT a.k, b.c
FROM per_z AS a JOIN otters AS b ON a.k = b.k;
