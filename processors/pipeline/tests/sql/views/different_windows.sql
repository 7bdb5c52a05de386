-- refused: 1:47 «JOIN» joins views of different windows (slide 1s, size 1s and slide 2s, size 2s); give them the same window
INSERT INTO sink SELECT a.k, b.c FROM per_s a JOIN per_2s b ON a.k = b.k;
