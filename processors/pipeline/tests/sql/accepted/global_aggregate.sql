-- plans
INSERT INTO sink SELECT 'all' AS k, count(*) AS c FROM ev GROUP BY tumble(t, INTERVAL '1 second');
