-- refused: 1:62 «session(t, INTERVAL '5 minutes')» session takes 3 arguments; write session(time, gap, longest), e.g. session(observed_at, INTERVAL '5 minutes', INTERVAL '4 hours')
INSERT INTO sink SELECT k, count(*) AS c FROM ev GROUP BY k, session(t, INTERVAL '5 minutes');
