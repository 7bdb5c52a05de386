-- plans
INSERT INTO sink (c, k) SELECT c, k FROM per_s;
