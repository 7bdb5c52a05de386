-- plans
INSERT INTO sink SELECT k, rank() OVER (PARTITION BY win ORDER BY c DESC) AS c FROM per_s;
