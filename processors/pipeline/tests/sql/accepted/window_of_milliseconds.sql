-- plans
INSERT INTO sink SELECT k, count(*) AS c FROM ev GROUP BY k, hop(t, INTERVAL '1 millisecond', INTERVAL '10 seconds');
