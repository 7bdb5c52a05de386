-- refused: 1:67 «ewma(v, n, INTERVAL '1 minute')» the time of ewma must be a TIMESTAMP, not BIGINT; write ewma(x, time, half_life), e.g. ewma(calls, win.start, INTERVAL '5 minutes')
CREATE VIEW x AS SELECT k, tumble(t, INTERVAL '1 second') AS win, ewma(v, n, INTERVAL '1 minute') AS x FROM ev GROUP BY k, win;
