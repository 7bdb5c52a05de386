-- refused: 1:25 «kkk» column `kkk` is not known; there are _late, _log_time, _offset, _partition, k, n, t, v
-- refused: 1:54 «kk» column `kk` is not known; did you mean `k`?
CREATE VIEW w AS SELECT kkk FROM ev UNION ALL SELECT kk FROM other;
