-- plans
INSERT INTO sink SELECT k, c FROM per_s ORDER BY c DESC LIMIT 3;
