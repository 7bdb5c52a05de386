-- warns of alert-fields: 1:1 «INSERT INTO alerts» alerts without `entity`, `confidence`; entity is what it is about; confidence is how sure it is, 0 to 1, and 0 without one
-- plans
INSERT INTO alerts SELECT k AS host_id, c AS how_many FROM per_s;
