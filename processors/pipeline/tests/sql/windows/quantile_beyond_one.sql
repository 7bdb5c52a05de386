-- refused: 1:64 «ddsketch_quantile(v, 95)» the quantile of ddsketch_quantile is from 0 to 1, not 95; write 0.95 for 95 %
CREATE VIEW w AS SELECT tumble(t, INTERVAL '1 second') AS win, ddsketch_quantile(v, 95) AS q FROM ev GROUP BY win;
