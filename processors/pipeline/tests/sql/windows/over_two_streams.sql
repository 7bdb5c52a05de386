-- refused: 1:84 «JOIN» rows of two streams (`ev` and `other`) meet without a window; window each in a view of its own
INSERT INTO sink SELECT k, count(*) AS c FROM (SELECT ev.k AS k, ev.t AS t FROM ev JOIN other ON ev.k = other.k)
GROUP BY k, tumble(t, INTERVAL '1 second');
