-- refused: 1:62 «session(t, INTERVAL '1 second', INTERVAL '1 day')» the greatest length is 86400 gaps, more than the 10000 that are supported; make the gap longer
INSERT INTO sink SELECT k, count(*) AS c FROM ev GROUP BY k, session(t, INTERVAL '1 second', INTERVAL '1 day');
