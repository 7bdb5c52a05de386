-- refused: 1:62 «hop(t, INTERVAL '1 second')» hop takes 3 arguments; write hop(time, slide, size), e.g. hop(observed_at, INTERVAL '1 second', INTERVAL '5 seconds')
INSERT INTO sink SELECT k, count(*) AS c FROM ev GROUP BY k, hop(t, INTERVAL '1 second');
