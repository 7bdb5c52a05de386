-- plans
CREATE VIEW halves AS SELECT k, tumble(t, INTERVAL '1 second') AS win, count(*) AS c FROM ev GROUP BY k, win;
CREATE VIEW over AS SELECT k, tumble(win.end, INTERVAL '1 second') AS win2, max(c) AS c FROM halves GROUP BY k, win2;
INSERT INTO sink SELECT k, c FROM over;
