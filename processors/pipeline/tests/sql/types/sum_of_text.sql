-- refused: 1:64 «sum(k)» `sum` does not take (VARCHAR); cast it: sum(CAST(k AS DOUBLE))
CREATE VIEW w AS SELECT tumble(t, INTERVAL '1 second') AS win, sum(k) AS s FROM ev GROUP BY win;
