-- refused: 1:65 «tumble(t, INTERVAL '1 second')» `plain` has no event time; add OPTIONS (event_time 't', lateness '5s') to its CREATE EXTERNAL TABLE
INSERT INTO sink SELECT k, count(*) AS c FROM plain GROUP BY k, tumble(t, INTERVAL '1 second');
