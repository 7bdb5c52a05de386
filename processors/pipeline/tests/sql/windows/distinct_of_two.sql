-- refused: 1:64 «hll_distinct(k, v)» hll_distinct takes 1 argument; write hll_distinct(x), e.g. hll_distinct(dst_addr)
CREATE VIEW w AS SELECT tumble(t, INTERVAL '1 second') AS win, hll_distinct(k, v) AS q FROM ev GROUP BY win;
