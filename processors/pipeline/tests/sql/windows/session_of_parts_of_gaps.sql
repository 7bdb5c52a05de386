-- refused: 1:62 «session(t, INTERVAL '7 minutes', INTERVAL '1 hour')» the greatest length of a session must be a whole number of gaps, for example 3780s, 9 times 420s
INSERT INTO sink SELECT k, count(*) AS c FROM ev GROUP BY k, session(t, INTERVAL '7 minutes', INTERVAL '1 hour');
