-- refused: 1:35 «p.zz» column `p.zz` is not known; there are t, k, v, n, _partition, _offset, _log_time, _late
-- refused: 1:55 «nothere» table `nothere` is not known; did you mean `other`?
CREATE VIEW x AS SELECT p.k, q.y, p.zz FROM ev p JOIN nothere q ON p.k = q.k;
