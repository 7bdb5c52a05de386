-- refused: 1:41 «v > 1 AND k» `AND` does not take BOOLEAN and VARCHAR; cast one of them: CAST(k AS BOOLEAN)
CREATE VIEW w AS SELECT k FROM ev WHERE v > 1 AND k;
