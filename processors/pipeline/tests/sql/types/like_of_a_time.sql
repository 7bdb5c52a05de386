-- refused: 1:41 «t LIKE 5» `LIKE` does not take TIMESTAMP and BIGINT; LIKE compares two VARCHAR
CREATE VIEW w AS SELECT k FROM ev WHERE t LIKE 5;
