-- refused: 1:28 «n.y» `n` is BIGINT, which has no fields
CREATE VIEW x AS SELECT k, n.y AS y FROM ev;
