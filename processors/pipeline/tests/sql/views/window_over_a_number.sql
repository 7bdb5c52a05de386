-- refused: 1:63 «tumble(a, INTERVAL '1 minute')» the time of tumble must be a timestamp, not DOUBLE; write tumble(time, size), e.g. tumble(observed_at, INTERVAL '5 seconds')
INSERT INTO sink SELECT k, sum(c) AS c FROM per_s GROUP BY k, tumble(a, INTERVAL '1 minute');
