-- refused: 1:25 «lower(k, k)» `lower` does not take (VARCHAR, VARCHAR)
CREATE VIEW w AS SELECT lower(k, k) AS x FROM ev;
