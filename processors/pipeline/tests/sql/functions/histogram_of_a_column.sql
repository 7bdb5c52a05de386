-- refused: 1:67 «histogram(v, 1, n)» the bounds of histogram must be literal numbers; write histogram(x, bound, …), e.g. histogram(duration_ns, 1e3, 1e6, 1e9)
CREATE VIEW x AS SELECT k, tumble(t, INTERVAL '1 second') AS win, histogram(v, 1, n) AS x FROM ev GROUP BY k, win;
