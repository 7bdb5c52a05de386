-- refused: 1:43 «UNION» DISTINCT, UNION and GROUP BY on a stream need a window; use GROUP BY with hop(…) or tumble(…), or UNION ALL
INSERT INTO sink SELECT k, n AS c FROM ev UNION SELECT k, n FROM ev;
