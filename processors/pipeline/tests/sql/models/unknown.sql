-- refused: 1:38 «'median'» model `median` is not known; there are mean
INSERT INTO scores SELECT k, predict('median', a, b) AS score FROM per_s;
