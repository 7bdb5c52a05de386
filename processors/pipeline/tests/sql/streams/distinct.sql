-- refused: 1:25 «DISTINCT» DISTINCT, UNION and GROUP BY on a stream need a window; use GROUP BY with hop(…) or tumble(…), or UNION ALL
INSERT INTO sink SELECT DISTINCT k FROM ev;
