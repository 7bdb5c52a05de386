-- refused: 1:65 «session(t, INTERVAL '1 second', INTERVAL '1 hour')» `plain` has no event time; add OPTIONS (event_time '…', lateness '…') to it
INSERT INTO sink SELECT k, count(*) AS c FROM plain GROUP BY k, session(t, INTERVAL '1 second', INTERVAL '1 hour');
