-- refused: 1:62 «tumble(t, 5)» the size of tumble must be an interval, not `5`; write tumble(time, size), e.g. tumble(observed_at, INTERVAL '5 seconds')
INSERT INTO sink SELECT k, count(*) AS c FROM ev GROUP BY k, tumble(t, 5);
