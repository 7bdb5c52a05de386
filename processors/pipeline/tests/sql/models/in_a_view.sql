-- refused: 1:28 «predict('mean', a, k)» predict('mean', …): feature `b` must be a number, `per_s.k` is VARCHAR; CAST it to DOUBLE
CREATE VIEW w AS SELECT k, predict('mean', a, k) AS score FROM per_s;
