-- refused: 1:30 «WHEN» behind WHEN stands a condition, and `ev.n` is BIGINT; compare it: … = …, … > 0, … IS NOT NULL
CREATE VIEW q AS SELECT CASE WHEN n THEN 1 ELSE 2 END AS c FROM ev;
