-- refused: 1:44 «'median'» model `median` is not known; there are mean
INSERT INTO scores SELECT k, model_version('median') AS version FROM per_s;
