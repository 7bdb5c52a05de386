-- refused: 1:56 «AS confidence» `confidence` is BIGINT, and amoskys.v1.Alert.confidence is double, which cannot hold every one; write it with a point (1.0), or CAST(confidence AS DOUBLE)
INSERT INTO alerts SELECT k AS host_id, k AS entity, 1 AS confidence FROM per_s;
