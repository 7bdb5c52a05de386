-- warns of exact-distinct: 1:68 «count(DISTINCT n» count(DISTINCT n) keeps every value of every group in every pane; hll_distinct(n) takes 16 KiB at most, and is exact up to 4,096 values
-- warns of exact-distinct: 1:92 «count(DISTINCT v» count(DISTINCT v) keeps every value of every group in every pane; hll_distinct(v) takes 16 KiB at most, and is exact up to 4,096 values
-- plans
CREATE VIEW vs AS SELECT k, tumble(t, INTERVAL '1 second') AS win, count(DISTINCT n) AS c, count(DISTINCT v) FILTER (WHERE n > 1) AS d FROM ev GROUP BY k, win;
INSERT INTO sink SELECT k, c FROM vs;
