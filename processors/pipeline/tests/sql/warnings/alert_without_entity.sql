-- warns of alert-fields: 2:1 «INSERT INTO alerts» alerts without `entity`, `confidence`; `entitty`: did you mean `entity`? entity is what it is about; confidence is how sure it is, 0 to 1, and 0 without one
-- warns of alert-fields: 3:1 «INSERT INTO alerts» alerts without `time`; time is when it happened, and a row has no window whose end it could be
-- plans
INSERT INTO alerts SELECT k AS host_id, k AS entity, 0.5 AS confidence FROM per_s;
INSERT INTO alerts SELECT k AS host_id, c AS entitty FROM per_s;
INSERT INTO alerts SELECT k AS host_id, k AS entity, v AS confidence FROM ev;
