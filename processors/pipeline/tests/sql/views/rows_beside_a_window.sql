-- refused: 1:57 «ev» `ev` is read without a window beside a windowed view; window it too
INSERT INTO sink SELECT a.k, b.n AS c FROM per_s a JOIN ev b ON a.k = b.k;
