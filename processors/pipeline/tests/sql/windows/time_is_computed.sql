-- refused: 1:62 «tumble(t + INTERVAL '1 second', INTERVAL '1 second')» the window's time is computed; it must be `t`, the event time of `ev`
INSERT INTO sink SELECT k, count(*) AS c FROM ev GROUP BY k, tumble(t + INTERVAL '1 second', INTERVAL '1 second');
