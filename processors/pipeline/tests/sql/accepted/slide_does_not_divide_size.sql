-- plans
INSERT INTO sink SELECT k, count(*) AS c FROM ev GROUP BY k, hop(t, INTERVAL '2 seconds', INTERVAL '5 seconds');
