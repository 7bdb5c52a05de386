-- refused: 1:36 «zz» column `zz` is not known; there are _late, _log_time, _offset, _partition, k, n, t, v
-- refused: 1:61 «e.yy» column `e.yy` is not known; there are t, k, v, n, _partition, _offset, _log_time, _late
CREATE VIEW x AS WITH a AS (SELECT zz FROM ev) SELECT a.zz, e.yy FROM a JOIN ev e ON a.zz = e.k;
