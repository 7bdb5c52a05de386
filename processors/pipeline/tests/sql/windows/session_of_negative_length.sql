-- refused: 1:62 «session(t, INTERVAL '1 second', INTERVAL '-1 hour')» the greatest length of a window must be more than zero, not -3600000000000 ns
INSERT INTO sink SELECT k, count(*) AS c FROM ev GROUP BY k, session(t, INTERVAL '1 second', INTERVAL '-1 hour');
