-- refused: 1:53 «now()» `now` gives another value each time, and a window computed again must be the same; take the event time, or _log_time, which the log gave the record
INSERT INTO sink SELECT k, n AS c FROM ev WHERE t > now() - INTERVAL '1 hour';
