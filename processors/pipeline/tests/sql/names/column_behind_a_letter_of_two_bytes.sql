-- refused: 1:37 «kk» column `kk` is not known; did you mean `k`?
CREATE VIEW w AS SELECT 'äöü' AS é, kk FROM ev;
