-- refused: 1:39 «kk» column `kk` is not known; did you mean `k`?
CREATE VIEW w AS WITH busy AS (SELECT kk FROM ev) SELECT k FROM busy;
