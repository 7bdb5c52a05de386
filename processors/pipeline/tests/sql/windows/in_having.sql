-- refused: 1:62 «tumble(t, INTERVAL '1 second')» hop, tumble and session belong into GROUP BY; a single row has no window; write SELECT …, hop(…) AS win … GROUP BY …, win
INSERT INTO sink SELECT k, count(*) AS c FROM ev GROUP BY k, tumble(t, INTERVAL '1 second')
HAVING count(DISTINCT tumble(t, INTERVAL '2 seconds')) > 1;
