-- refused: 1:33 «ev» Expected: end of statement, found: ev; is a semicolon missing before this, which ends a statement, or a comma?
-- refused: 3:25 «kk» column `kk` is not known; did you mean `k`?
CREATE VIEW bad AS SELECT k FRM ev WHERE;
CREATE VIEW on_bad AS SELECT whatever FROM bad;
CREATE VIEW w AS SELECT kk FROM ev;
