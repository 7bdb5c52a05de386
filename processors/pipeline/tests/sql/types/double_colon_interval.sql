-- refused: 1:29 «::» BIGINT cannot be cast to INTERVAL
CREATE VIEW x AS SELECT k, n::INTERVAL AS y FROM ev;
