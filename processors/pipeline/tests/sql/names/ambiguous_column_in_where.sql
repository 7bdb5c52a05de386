-- refused: 1:80 «c» column `c` is ambiguous; say of which table: `t.c`
INSERT INTO sink SELECT a.k, a.c FROM per_s a JOIN others b ON a.k = b.k WHERE c > 1;
