-- refused: 1:25 «"K"» column `K` is not known; did you mean `k`, `n` or `t`?
CREATE VIEW w AS SELECT "K" FROM ev;
