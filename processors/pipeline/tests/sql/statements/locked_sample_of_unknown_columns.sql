-- refused: 1:25 «zz» column `zz` is not known; there are _late, _log_time, _offset, _partition, k, n, t, v
-- refused: 1:36 «TABLESAMPLE» a sample of a stream would be another one each time it is read again; take one by a hash of a key: WHERE hash64(host_id) % 10 = 0
-- refused: 1:61 «FOR UPDATE» rows of a stream are not locked; leave FOR UPDATE out
CREATE VIEW x AS SELECT zz FROM ev TABLESAMPLE (10 PERCENT) FOR UPDATE;
