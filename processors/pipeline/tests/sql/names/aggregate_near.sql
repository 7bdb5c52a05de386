-- refused: 1:64 «summ(n)» function `summ` is not known; did you mean `sum`?
CREATE VIEW w AS SELECT tumble(t, INTERVAL '1 second') AS win, summ(n) AS s FROM ev GROUP BY win;
