-- refused: 1:57 «tumble(t, INTERVAL '1 second')» hop, tumble and session belong into GROUP BY; a single row has no window; write SELECT …, hop(…) AS win … GROUP BY …, win
INSERT INTO sink SELECT k, n AS c FROM (SELECT k, n, t, tumble(t, INTERVAL '1 second') AS w FROM ev)
WHERE w.start > TIMESTAMP '2020-01-01';
