-- refused: 2:33 «AS c» `c` is text, and in `numbers` it is BIGINT; CAST(c AS BIGINT), if it holds such
CREATE EXTERNAL TABLE numbers (k VARCHAR, c BIGINT) STORED AS JSON LOCATION 'numbers';
INSERT INTO numbers SELECT k, k AS c FROM ev;
