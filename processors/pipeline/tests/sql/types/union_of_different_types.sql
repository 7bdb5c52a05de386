-- refused: 1:43 «UNION» column `win` is of types that do not go together in the parts of this UNION; cast it in one of them
CREATE VIEW w AS SELECT k, win FROM per_s UNION ALL SELECT k, 1 AS win FROM others;
