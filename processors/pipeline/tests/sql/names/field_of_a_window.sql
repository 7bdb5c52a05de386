-- refused: 1:47 «win.begin» `win` has no field `begin`; it has start, end
INSERT INTO sink SELECT k, c FROM per_s WHERE win.begin > TIMESTAMP '2020-01-01';
