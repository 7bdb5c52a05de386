-- plans
INSERT INTO sink SELECT a.k, a.c + b.c AS c FROM per_s a JOIN others b ON a.k = b.k AND a.win = b.win;
