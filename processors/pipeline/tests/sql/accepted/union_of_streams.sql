-- plans
INSERT INTO sink SELECT k, c FROM per_s UNION ALL SELECT k, c FROM others;
