-- refused: 1:90 «vv» column `vv` is not known; did you mean `v`?
CREATE VIEW w AS SELECT k, tumble(t, INTERVAL '1 second') AS win, count(*) FILTER (WHERE vv > 1) AS c FROM ev GROUP BY k, win;
