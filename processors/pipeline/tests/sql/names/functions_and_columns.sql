-- refused: 1:30 «kk» column `kk` is not known; did you mean `k`?
-- refused: 1:40 «uper(k)» function `uper` is not known; did you mean `upper`?
CREATE VIEW w AS SELECT lowr(kk) AS l, uper(k) AS u FROM ev;
