-- refused: 1:1 «SELECT» only CREATE EXTERNAL TABLE, CREATE VIEW and INSERT INTO belong into these files
-- refused: 2:25 «kk» column `kk` is not known; did you mean `k`?
-- refused: 3:18 «SELEC» Expected: SELECT, VALUES, or a subquery in the query body, found: SELEC
-- refused: 4:35 «othres» table `othres` is not known; did you mean `others`?
SELECT 1;
CREATE VIEW w AS SELECT kk FROM ev;
CREATE VIEW x AS SELEC k FROM ev;
INSERT INTO sink SELECT k, c FROM othres;
