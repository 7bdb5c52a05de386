-- refused: 1:67 «ewma(v, t, INTERVAL '1 month')» the half-life of ewma must be a literal interval of fixed length; write ewma(x, time, half_life), e.g. ewma(calls, win.start, INTERVAL '5 minutes')
CREATE VIEW x AS SELECT k, tumble(t, INTERVAL '1 second') AS win, ewma(v, t, INTERVAL '1 month') AS x FROM ev GROUP BY k, win;
