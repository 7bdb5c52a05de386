-- refused: 1:62 «tumble(t, INTERVAL '1 second', INTERVAL '2 seconds')» tumble takes 2 arguments; write tumble(time, size), e.g. tumble(observed_at, INTERVAL '5 seconds')
INSERT INTO sink SELECT k, count(*) AS c FROM ev GROUP BY k, tumble(t, INTERVAL '1 second', INTERVAL '2 seconds');
