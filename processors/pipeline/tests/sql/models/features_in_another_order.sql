-- refused: 1:30 «predict('mean', b, a)» predict('mean', …): `b` stands where the model wants `a`; the order is a, b
INSERT INTO scores SELECT k, predict('mean', b, a) AS score FROM per_s;
