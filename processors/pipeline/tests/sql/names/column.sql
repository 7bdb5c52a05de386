-- refused: 1:25 «kk» column `kk` is not known; did you mean `k`?
CREATE VIEW w AS SELECT kk FROM ev;
