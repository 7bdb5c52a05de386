-- refused: 1:67 «ewma(v, t)» ewma takes 3 arguments, not 2; write ewma(x, time, half_life), e.g. ewma(calls, win.start, INTERVAL '5 minutes')
CREATE VIEW x AS SELECT k, tumble(t, INTERVAL '1 second') AS win, ewma(v, t) AS x FROM ev GROUP BY k, win;
