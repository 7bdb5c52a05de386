-- refused: 1:80 «JOIN» a stream joined with a stream has no end; window both in views and join those
INSERT INTO sink SELECT k, count(*) AS c FROM (SELECT one.k, one.t FROM ev one JOIN ev two ON one.k = two.k)
GROUP BY k, tumble(t, INTERVAL '1 second');
