-- refused: 1:40 «kk» column `kk` is not known; did you mean `k`?
CREATE VIEW w AS SELECT k FROM (SELECT kk FROM ev) AS inner_rows;
