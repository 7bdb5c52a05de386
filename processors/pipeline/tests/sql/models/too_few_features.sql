-- refused: 1:30 «predict('mean', a)» predict('mean', …) has 1 features, the model wants 2; they are a, b
INSERT INTO scores SELECT k, predict('mean', a) AS score FROM per_s;
