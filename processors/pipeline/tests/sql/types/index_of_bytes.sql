-- refused: 1:28 «(n)[1]» `(n)` is BIGINT, which has no elements
CREATE VIEW x AS SELECT k, (n)[1] AS y FROM ev;
