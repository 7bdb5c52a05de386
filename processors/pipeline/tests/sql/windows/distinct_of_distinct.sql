-- refused: 1:64 «hll_distinct(DISTINCT v)» hll_distinct takes no DISTINCT; write hll_distinct(x)
CREATE VIEW w AS SELECT tumble(t, INTERVAL '1 second') AS win, hll_distinct(DISTINCT v) AS q FROM ev GROUP BY win;
