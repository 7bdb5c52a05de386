-- plans
INSERT INTO sink SELECT k, c FROM per_s WHERE c > (SELECT avg(c) FROM per_s);
