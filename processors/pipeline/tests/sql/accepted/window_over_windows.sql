-- plans
INSERT INTO sink SELECT k, max(c) AS c FROM per_s GROUP BY k, tumble(win.end, INTERVAL '1 hour');
