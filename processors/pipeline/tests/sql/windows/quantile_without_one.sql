-- refused: 1:64 «ddsketch_quantile(v)» ddsketch_quantile takes 2 or 3 arguments; write ddsketch_quantile(x, quantile [, accuracy]), e.g. ddsketch_quantile(duration_ns, 0.95)
CREATE VIEW w AS SELECT tumble(t, INTERVAL '1 second') AS win, ddsketch_quantile(v) AS q FROM ev GROUP BY win;
