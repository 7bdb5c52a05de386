-- refused: 1:64 «ddsketch_quantile(v, n)» the quantile of ddsketch_quantile must be a literal number from 0 to 1; write for example ddsketch_quantile(duration_ns, 0.95)
CREATE VIEW w AS SELECT tumble(t, INTERVAL '1 second') AS win, ddsketch_quantile(v, n) AS q FROM ev GROUP BY win;
