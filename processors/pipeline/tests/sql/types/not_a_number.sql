-- refused: 1:45 «n» `NOT` does not take BIGINT
CREATE VIEW w AS SELECT k FROM ev WHERE NOT n;
