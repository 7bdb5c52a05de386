-- refused: 1:64 «ddsketch_quantile(k, 0.5)» ddsketch_quantile looks at numbers, not VARCHAR; cast it: ddsketch_quantile(CAST(x AS DOUBLE), 0.95)
CREATE VIEW w AS SELECT tumble(t, INTERVAL '1 second') AS win, ddsketch_quantile(k, 0.5) AS q FROM ev GROUP BY win;
