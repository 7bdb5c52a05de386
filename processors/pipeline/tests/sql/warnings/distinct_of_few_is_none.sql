-- plans
CREATE VIEW vs AS SELECT k, tumble(t, INTERVAL '1 second') AS win, count(DISTINCT n > 1) AS c FROM ev GROUP BY k, win;
INSERT INTO sink SELECT k, c FROM vs;
