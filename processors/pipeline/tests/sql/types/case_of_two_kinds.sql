-- refused: 1:25 «CASE WHEN v > 1 THEN t ELSE true END» CASE gives TIMESTAMP and BOOLEAN; cast its results to one type
CREATE VIEW w AS SELECT CASE WHEN v > 1 THEN t ELSE true END AS x FROM ev;
