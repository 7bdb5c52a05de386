-- refused: 2:8 «VIEW» Expected: end of statement, found: VIEW; is a semicolon missing before this, which ends a statement, or a comma?
CREATE VIEW w AS SELECT k FROM ev
CREATE VIEW x AS SELECT k FROM ev;
