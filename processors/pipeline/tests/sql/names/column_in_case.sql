-- refused: 1:35 «vv» column `vv` is not known; did you mean `v`?
-- refused: 1:59 «kk» column `kk` is not known; did you mean `k`?
CREATE VIEW w AS SELECT CASE WHEN vv > 1 THEN 'much' ELSE kk END AS how FROM ev;
