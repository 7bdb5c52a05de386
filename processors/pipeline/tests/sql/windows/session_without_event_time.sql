-- refused: 1:65 «session(t, INTERVAL '1 second', INTERVAL '1 hour')» `plain` has no event time; add OPTIONS (event_time 't', lateness '5s') to its CREATE EXTERNAL TABLE
INSERT INTO sink SELECT k, count(*) AS c FROM plain GROUP BY k, session(t, INTERVAL '1 second', INTERVAL '1 hour');
