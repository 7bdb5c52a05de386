-- refused: 1:62 «hop(n, INTERVAL '1 second', INTERVAL '1 second')» the time of hop must be a timestamp, not BIGINT; write hop(time, slide, size), e.g. hop(observed_at, INTERVAL '1 second', INTERVAL '5 seconds')
INSERT INTO sink SELECT k, count(*) AS c FROM ev GROUP BY k, hop(n, INTERVAL '1 second', INTERVAL '1 second');
