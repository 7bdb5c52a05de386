-- refused: 1:52 «kk» column `kk` is not known; did you mean `k`?
CREATE VIEW w AS SELECT k FROM ev UNION ALL SELECT kk FROM other;
