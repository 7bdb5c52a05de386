-- plans
INSERT INTO alerts SELECT k AS host_id, win.end AS time FROM per_s WHERE c > 3;
