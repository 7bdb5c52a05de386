-- refused: 1:18 «SELEC» Expected: SELECT, VALUES, or a subquery in the query body, found: SELEC
CREATE VIEW w AS SELEC k FROM ev;
