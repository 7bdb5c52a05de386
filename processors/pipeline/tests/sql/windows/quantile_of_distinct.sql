-- refused: 1:64 «ddsketch_quantile(DISTINCT v, 0.5)» ddsketch_quantile takes no DISTINCT: it counts every value; for the distinct ones write percentile_cont(DISTINCT …) WITHIN GROUP (ORDER BY …), which keeps them all
CREATE VIEW w AS SELECT tumble(t, INTERVAL '1 second') AS win, ddsketch_quantile(DISTINCT v, 0.5) AS q FROM ev GROUP BY win;
