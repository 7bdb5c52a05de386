-- refused: 1:38 «nothere» table `nothere` is not known; did you mean `other`?
-- refused: 1:53 «neither» table `neither` is not known
CREATE VIEW x AS SELECT a.k, zz FROM nothere a JOIN neither b ON a.k = b.k;
