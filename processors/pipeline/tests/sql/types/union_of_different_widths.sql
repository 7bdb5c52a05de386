-- refused: 1:18 «SELECT k, v FROM ev UNION ALL SELECT k FROM other» the parts of a UNION have different numbers of columns
CREATE VIEW w AS SELECT k, v FROM ev UNION ALL SELECT k FROM other;
