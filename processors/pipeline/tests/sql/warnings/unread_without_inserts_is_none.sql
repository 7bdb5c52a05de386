-- plans
CREATE VIEW nobody AS SELECT k, tumble(t, INTERVAL '1 second') AS win, count(*) AS c FROM ev GROUP BY k, win;
