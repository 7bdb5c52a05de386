-- refused: 1:56 «kk» column `kk` is not known; did you mean `k`?
CREATE VIEW w AS SELECT count(*) AS c FROM ev GROUP BY kk, tumble(t, INTERVAL '1 second');
