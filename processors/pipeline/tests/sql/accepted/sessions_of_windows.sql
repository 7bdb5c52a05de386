-- plans
INSERT INTO sink SELECT k, count(*) AS c FROM per_s GROUP BY k, session(win.end, INTERVAL '1 minute', INTERVAL '1 hour');
