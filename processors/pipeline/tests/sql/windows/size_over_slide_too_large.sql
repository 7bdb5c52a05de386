-- refused: 1:62 «hop(t, INTERVAL '1 second', INTERVAL '10001 seconds')» size / slide is 10001, more than the 10000 that is supported; slide less often
INSERT INTO sink SELECT k, count(*) AS c FROM ev GROUP BY k, hop(t, INTERVAL '1 second', INTERVAL '10001 seconds');
