-- refused: 1:67 «string_agg(k, k)» string_agg(…) cannot be computed: string_agg delimiter must be a string literal
CREATE VIEW q AS SELECT k, tumble(t, INTERVAL '1 second') AS win, string_agg(k, k) AS c FROM ev GROUP BY k, win;
