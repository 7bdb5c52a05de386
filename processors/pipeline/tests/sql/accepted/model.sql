-- plans
INSERT INTO scores SELECT k, predict('mean', *) AS score, model_version('mean') AS version FROM per_s;
