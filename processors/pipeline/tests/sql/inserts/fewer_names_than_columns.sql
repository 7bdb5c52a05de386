-- refused: 1:1 «INSERT INTO sink» INSERT names 1 columns, its SELECT has 2; name as many as the SELECT has
INSERT INTO sink (k) SELECT k, c FROM per_s;
