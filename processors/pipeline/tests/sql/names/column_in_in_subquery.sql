-- refused: 1:60 «kk» column `kk` is not known; did you mean `k`?
CREATE VIEW w AS SELECT k, c FROM per_s WHERE k IN (SELECT kk FROM others);
