-- plans
INSERT INTO sink SELECT k, count(*) AS c FROM ev GROUP BY k, tumble(t, INTERVAL '1 second') HAVING c > 3;
