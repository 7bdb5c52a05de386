-- refused: 1:67 «histogram(k, 1, 2)» histogram looks at numbers, not VARCHAR; write histogram(x, bound, …), e.g. histogram(duration_ns, 1e3, 1e6, 1e9)
CREATE VIEW x AS SELECT k, tumble(t, INTERVAL '1 second') AS win, histogram(k, 1, 2) AS x FROM ev GROUP BY k, win;
