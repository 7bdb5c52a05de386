-- refused: 1:25 «e.kk» column `e.kk` is not known; did you mean `k`?
CREATE VIEW w AS SELECT e.kk FROM ev AS e;
