-- warns of lateness-over-size: 1:32 «tumble(t, INTERVAL '500 milliseconds')» rows of `ev` may be 1s late, longer than the window, 500ms; each window waits longer than it lasts: a smaller lateness, or longer windows
-- plans
CREATE VIEW short AS SELECT k, tumble(t, INTERVAL '500 milliseconds') AS win, count(*) AS c FROM ev GROUP BY k, win;
INSERT INTO sink SELECT k, c FROM short;
