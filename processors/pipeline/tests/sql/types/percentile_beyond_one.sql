-- refused: 1:67 «percentile_cont(2.0)» percentile_cont(…) cannot be computed: Percentile value must be between 0.0 and 1.0 inclusive, 2 is invalid
CREATE VIEW q AS SELECT k, tumble(t, INTERVAL '1 second') AS win, percentile_cont(2.0) WITHIN GROUP (ORDER BY v) AS c FROM ev GROUP BY k, win;
