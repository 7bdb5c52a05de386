-- refused: 1:41 «zz» column `zz` is not known; there are _late, _log_time, _offset, _partition, k, n, t, v
-- refused: 1:52 «yy» column `yy` is not known; there are _late, _log_time, _offset, _partition, k, n, t, v
-- refused: 1:79 «foo(v)» function `foo` is not known; did you mean `floor`?
CREATE VIEW x AS SELECT k FROM ev WHERE zz > 1 AND yy + 'a' = 2 AND k > 5 AND foo(v) = 1;
