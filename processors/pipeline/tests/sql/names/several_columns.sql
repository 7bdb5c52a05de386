-- refused: 2:8 «kk» column `kk` is not known; did you mean `k`?
-- refused: 2:12 «vv» column `vv` is not known; did you mean `v`?
-- refused: 4:7 «nn» column `nn` is not known; did you mean `n`?
-- refused: 4:24 «kkk» column `kkk` is not known; there are _late, _log_time, _offset, _partition, k, n, t, v
CREATE VIEW w AS
SELECT kk, vv + 1 AS two, n
FROM ev
WHERE nn > 3 AND lower(kkk) = 'a';
