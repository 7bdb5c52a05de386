-- refused: 1:49 «JOIN» a stream joined with a stream has no end; window both in views and join those
INSERT INTO sink SELECT a.k, a.n AS c FROM ev a JOIN ev b ON a.k = b.k;
