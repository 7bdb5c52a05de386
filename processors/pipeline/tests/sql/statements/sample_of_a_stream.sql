-- refused: 1:35 «TABLESAMPLE» a sample of a stream would be another one each time it is read again; take one by a hash of a key: WHERE hash64(host_id) % 10 = 0
CREATE VIEW q AS SELECT k FROM ev TABLESAMPLE SYSTEM (10);
