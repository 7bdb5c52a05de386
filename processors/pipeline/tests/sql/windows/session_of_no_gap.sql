-- refused: 1:62 «session(t, INTERVAL '0 seconds', INTERVAL '1 hour')» the gap of a window must be more than zero, not 0 ns
INSERT INTO sink SELECT k, count(*) AS c FROM ev GROUP BY k, session(t, INTERVAL '0 seconds', INTERVAL '1 hour');
