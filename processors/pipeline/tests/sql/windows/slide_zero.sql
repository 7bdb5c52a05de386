-- refused: 1:62 «hop(t, INTERVAL '0 seconds', INTERVAL '1 second')» the slide of a window must be more than zero, not 0 ns
INSERT INTO sink SELECT k, count(*) AS c FROM ev GROUP BY k, hop(t, INTERVAL '0 seconds', INTERVAL '1 second');
