-- plans
CREATE VIEW visits AS SELECT k, session(t, INTERVAL '5 minutes', INTERVAL '1 hour') AS win, count(*) AS c FROM ev GROUP BY k, win;
INSERT INTO sink SELECT k, max(c) AS c FROM visits GROUP BY k, tumble(win.end, INTERVAL '1 hour');
