-- refused: 2:64 «tumble(win.start, INTERVAL '1 hour')» a window over the starts of sessions, which are known when they end; use the end of the session: hop(win.end, …)
CREATE VIEW visits AS SELECT k, session(t, INTERVAL '5 minutes', INTERVAL '1 hour') AS win, count(*) AS c FROM ev GROUP BY k, win;
INSERT INTO sink SELECT k, max(c) AS c FROM visits GROUP BY k, tumble(win.start, INTERVAL '1 hour');
