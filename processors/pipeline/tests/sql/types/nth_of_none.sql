-- refused: 1:67 «nth_value(v, 0)» nth_value(…) cannot be computed: Nth value indices are 1 based. 0 is invalid index.
CREATE VIEW q AS SELECT k, tumble(t, INTERVAL '1 second') AS win, nth_value(v, 0) AS c FROM ev GROUP BY k, win;
