-- plans
INSERT INTO sink SELECT k, hll_distinct(n) AS c FROM ev GROUP BY k, tumble(t, INTERVAL '1 second')
HAVING ddsketch_quantile(v, 0.99) > 3;
