-- refused: 1:59 «AS confidence» a confidence of 17: it is 0 to 1; 0.6 and more is HIGH, 0.85 and more CRITICAL
INSERT INTO alerts SELECT k AS host_id, k AS entity, 17.0 AS confidence FROM per_s;
