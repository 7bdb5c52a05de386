-- plans
INSERT INTO sink SELECT k, count(*) AS c FROM ev GROUP BY k, hop(t, INTERVAL '5 seconds', INTERVAL '2 seconds');
