-- refused: 1:41 «UNION» joins views of different windows (slide 1s, size 1s and slide 2s, size 2s); give them the same window
INSERT INTO sink SELECT k, c FROM per_s UNION ALL SELECT k, c FROM per_2s;
