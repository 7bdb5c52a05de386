-- refused: 1:62 «session(t, INTERVAL '1 hour', INTERVAL '5 minutes')» the greatest length of a session must be a whole number of gaps, for example 3600s, 1 times 3600s
INSERT INTO sink SELECT k, count(*) AS c FROM ev GROUP BY k, session(t, INTERVAL '1 hour', INTERVAL '5 minutes');
