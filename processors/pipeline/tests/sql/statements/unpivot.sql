-- refused: 1:38 «UNPIVOT» UNPIVOT is not supported; write a SELECT for each column, joined by UNION ALL
CREATE VIEW x AS SELECT * FROM per_s UNPIVOT (y FOR z IN (c, a));
