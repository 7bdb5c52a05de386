-- refused: 1:32 «k» substr takes what to cut and from where; write substr(k, 1)
CREATE VIEW w AS SELECT substr(k) AS x FROM ev;
