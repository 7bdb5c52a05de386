-- refused: 1:67 «histogram(v)» histogram takes what to look at and at least one bound; write histogram(x, bound, …), e.g. histogram(duration_ns, 1e3, 1e6, 1e9)
CREATE VIEW x AS SELECT k, tumble(t, INTERVAL '1 second') AS win, histogram(v) AS x FROM ev GROUP BY k, win;
