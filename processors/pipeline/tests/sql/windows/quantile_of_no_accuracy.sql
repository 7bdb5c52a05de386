-- refused: 1:64 «ddsketch_quantile(v, 0.5, 0)» the accuracy of ddsketch_quantile is from 0.001 to 0.2, not 0; leave it out for 0.01 (1 %)
CREATE VIEW w AS SELECT tumble(t, INTERVAL '1 second') AS win, ddsketch_quantile(v, 0.5, 0) AS q FROM ev GROUP BY win;
