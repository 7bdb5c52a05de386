-- refused: 1:28 «tumble(t, INTERVAL '200000 days')» the size of tumble is longer than 292 years; write tumble(time, size), e.g. tumble(observed_at, INTERVAL '5 seconds')
CREATE VIEW x AS SELECT k, tumble(t, INTERVAL '200000 days') AS win, count(*) AS c FROM ev GROUP BY k, win;
