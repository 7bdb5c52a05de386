-- refused: 1:90 «AS hots» `x` has no column `hots`; did you mean `host`?
CREATE EXTERNAL TABLE x (host TEXT) STORED AS ARROW LOCATION 'x'; INSERT INTO x SELECT k AS hots FROM per_s;
