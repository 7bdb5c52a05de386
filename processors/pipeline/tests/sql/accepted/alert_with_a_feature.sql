-- plans
INSERT INTO alerts SELECT k AS host_id, c AS how_many FROM per_s;
