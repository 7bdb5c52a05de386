-- refused: 2:8 «VIEW» Expected: end of statement, found: VIEW
CREATE VIEW w AS SELECT k FROM ev
CREATE VIEW x AS SELECT k FROM ev;
