-- refused: 1:30 «predict(k, a, b)» predict takes the name of a model first; write predict('process_behaviour', *)
INSERT INTO scores SELECT k, predict(k, a, b) AS score FROM per_s;
