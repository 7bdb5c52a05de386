-- refused: 1:62 «session(t, INTERVAL '999 nanoseconds', INTERVAL '999 microseconds')» the gap must be a microsecond at least
INSERT INTO sink SELECT k, count(*) AS c FROM ev GROUP BY k, session(t, INTERVAL '999 nanoseconds', INTERVAL '999 microseconds');
