-- refused: 1:44 «win IN (1, 2)» `IN` does not take STRUCT(start TIMESTAMP, end TIMESTAMP) and BIGINT
CREATE VIEW w AS SELECT k FROM per_s WHERE win IN (1, 2);
