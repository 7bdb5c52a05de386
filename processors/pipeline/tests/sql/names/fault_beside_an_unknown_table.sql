-- refused: 1:25 «e.zz» column `e.zz` is not known; there are t, k, v, n, _partition, _offset, _log_time, _late
-- refused: 1:49 «n + k» `+` does not take BIGINT and VARCHAR; cast one of them: CAST(k AS BIGINT)
-- refused: 1:75 «nothere» table `nothere` is not known; did you mean `other`?
-- refused: 1:104 «e.nn» column `e.nn` is not known; did you mean `n`?
CREATE VIEW x AS SELECT e.zz, q.any, other_one, n + k AS s FROM ev e JOIN nothere q ON e.k = q.k WHERE e.nn > 1;
