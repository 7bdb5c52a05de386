-- refused: 1:48 «JOIN» joins views of different windows (slide 2s, size 2s and slide 1s, size 1s); give them the same window
INSERT INTO sink SELECT a.k, b.c FROM per_2s a JOIN others b ON a.k = b.k;
