-- refused: 1:28 «hop(t, INTERVAL '1 second', INTERVAL '2 seconds')» hop, tumble and session belong into GROUP BY; a single row has no window; write SELECT …, hop(…) AS win … GROUP BY …, win
INSERT INTO sink SELECT k, hop(t, INTERVAL '1 second', INTERVAL '2 seconds') IS NULL AS c FROM ev;
