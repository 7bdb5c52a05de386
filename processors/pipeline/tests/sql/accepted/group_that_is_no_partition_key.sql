-- plans
INSERT INTO sink SELECT k, count(*) AS c FROM keyless GROUP BY k, tumble(t, INTERVAL '1 second');
