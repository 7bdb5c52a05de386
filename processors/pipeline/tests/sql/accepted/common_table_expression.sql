-- plans
INSERT INTO sink WITH busy AS (SELECT k, c FROM per_s WHERE c > 3) SELECT k, c FROM busy;
