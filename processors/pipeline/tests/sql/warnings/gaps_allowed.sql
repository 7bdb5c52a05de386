-- plans
-- allow: window-gaps
INSERT INTO sink SELECT k, c FROM (SELECT k, hop(t, INTERVAL '10 seconds', INTERVAL '2 seconds') AS win, count(*) AS c FROM ev GROUP BY k, win);
