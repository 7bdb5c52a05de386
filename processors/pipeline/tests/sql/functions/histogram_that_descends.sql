-- refused: 1:67 «histogram(v, 2, 1)» the bounds of histogram must ascend; write histogram(x, bound, …), e.g. histogram(duration_ns, 1e3, 1e6, 1e9)
CREATE VIEW x AS SELECT k, tumble(t, INTERVAL '1 second') AS win, histogram(v, 2, 1) AS x FROM ev GROUP BY k, win;
