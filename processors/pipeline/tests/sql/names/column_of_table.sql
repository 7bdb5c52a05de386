-- refused: 1:25 «ev.kk» column `ev.kk` is not known; did you mean `k`?
CREATE VIEW w AS SELECT ev.kk FROM ev;
