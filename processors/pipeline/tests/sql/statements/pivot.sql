-- refused: 1:38 «PIVOT» PIVOT is not supported; write a column for each value: sum(x) FILTER (WHERE k = 'a') AS a
CREATE VIEW x AS SELECT * FROM per_s PIVOT (sum(c) FOR k IN ('a', 'b'));
