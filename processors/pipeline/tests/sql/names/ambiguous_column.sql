-- refused: 1:25 «k» column `k` is ambiguous; say of which table: `t.k`
INSERT INTO sink SELECT k, a.c FROM per_s a JOIN others b ON a.k = b.k;
