-- refused: 1:62 «tumble(t, INTERVAL '0 seconds')» the size of a window must be more than zero, not 0 ns
INSERT INTO sink SELECT k, count(*) AS c FROM ev GROUP BY k, tumble(t, INTERVAL '0 seconds');
