-- plans
CREATE VIEW visits AS SELECT k, session(t, INTERVAL '5 minutes', INTERVAL '1 hour') AS win, count(*) AS c FROM ev GROUP BY k, win;
CREATE VIEW totals AS SELECT k, session(t, INTERVAL '5 minutes', INTERVAL '1 hour') AS win, sum(n) AS s FROM ev GROUP BY k, win;
INSERT INTO sink SELECT a.k, b.s AS c FROM visits a JOIN totals b ON a.k = b.k WHERE a.c > 3;
