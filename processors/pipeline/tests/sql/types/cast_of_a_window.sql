-- refused: 1:25 «CAST(win AS BIGINT)» STRUCT(start TIMESTAMP, end TIMESTAMP) cannot be cast to BIGINT
CREATE VIEW w AS SELECT CAST(win AS BIGINT) AS x FROM per_s;
