-- refused: 1:92 «'HI'» a severity of 'HI'; it is LOW, MEDIUM, HIGH, CRITICAL
INSERT INTO alerts SELECT k AS host_id, 'x' AS entity, win.end AS time, 0.5 AS confidence, 'HI' AS severity FROM per_s;
