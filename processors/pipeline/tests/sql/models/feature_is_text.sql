-- refused: 1:30 «predict('mean', a, k)» predict('mean', …): feature `b` must be a number, `per_s.k` is VARCHAR; CAST it to DOUBLE
INSERT INTO scores SELECT k, predict('mean', a, k) AS score FROM per_s;
