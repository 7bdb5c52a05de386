-- plans
CREATE VIEW w AS SELECT tumble(t, INTERVAL '1 second') AS win, shed_rows(n) AS s FROM ev GROUP BY win;
