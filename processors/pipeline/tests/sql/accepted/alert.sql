-- warns of alert-fields: 1:1 «INSERT INTO alerts» alerts without `entity`, `confidence`; entity is what it is about; confidence is how sure it is, 0 to 1, and 0 without one
-- plans
INSERT INTO alerts SELECT k AS host_id, win.end AS time FROM per_s WHERE c > 3;
