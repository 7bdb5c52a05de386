-- refused: 1:30 «predict()» 'predict' does not support zero arguments.; it takes predict(Any, .., Any)
INSERT INTO scores SELECT k, predict() AS score FROM per_s;
