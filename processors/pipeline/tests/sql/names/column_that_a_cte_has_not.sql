-- refused: 1:57 «v» column `v` is not known; did you mean `k`?
CREATE VIEW w AS WITH busy AS (SELECT k FROM ev) SELECT v FROM busy;
