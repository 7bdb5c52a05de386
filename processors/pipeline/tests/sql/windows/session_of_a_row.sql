-- refused: 1:49 «session(t, INTERVAL '1 second', INTERVAL '1 hour')» hop, tumble and session belong into GROUP BY; a single row has no window; write SELECT …, hop(…) AS win … GROUP BY …, win
INSERT INTO sink SELECT k, 1 AS c FROM ev WHERE session(t, INTERVAL '1 second', INTERVAL '1 hour') IS NOT NULL;
