-- refused: 1:27 «kk» column `kk` is not known; did you mean `k`?
CREATE VIEW bad AS SELECT kk FROM ev;
CREATE VIEW on_bad AS SELECT whatever FROM bad;
