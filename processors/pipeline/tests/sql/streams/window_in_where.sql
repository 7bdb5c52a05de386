-- refused: 1:59 «tumble(t, INTERVAL '1 second')» hop, tumble and session belong into GROUP BY; a single row has no window; write SELECT …, hop(…) AS win … GROUP BY …, win
INSERT INTO sink SELECT k, n AS c FROM ev WHERE get_field(tumble(t, INTERVAL '1 second'), 'start') = t;
