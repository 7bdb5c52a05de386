-- refused: 1:67 «ewma(v, t, INTERVAL '0 seconds')» the half-life of ewma must be more than nothing; write ewma(x, time, half_life), e.g. ewma(calls, win.start, INTERVAL '5 minutes')
CREATE VIEW x AS SELECT k, tumble(t, INTERVAL '1 second') AS win, ewma(v, t, INTERVAL '0 seconds') AS x FROM ev GROUP BY k, win;
