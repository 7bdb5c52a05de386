-- refused: 1:41 «n.y» `n` is BIGINT, which has no fields
CREATE VIEW x AS SELECT k FROM ev WHERE n.y > 1;
