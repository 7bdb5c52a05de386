-- refused: 2:8 «VIEW» Expected: end of statement, found: VIEW; a statement ends with a semicolon: is one missing before this?
CREATE VIEW w AS SELECT k FROM ev
CREATE VIEW x AS SELECT k FROM ev;
