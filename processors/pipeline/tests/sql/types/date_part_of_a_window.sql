-- refused: 1:25 «date_part('hour', win)» `date_part` does not take (VARCHAR, STRUCT(start TIMESTAMP, end TIMESTAMP))
CREATE VIEW w AS SELECT date_part('hour', win) AS x FROM per_s;
