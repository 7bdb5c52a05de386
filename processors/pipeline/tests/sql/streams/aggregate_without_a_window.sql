-- refused: 1:50 «GROUP BY» an aggregate over a stream without a window never ends; add hop(…) or tumble(…) to GROUP BY
INSERT INTO sink SELECT k, count(*) AS c FROM ev GROUP BY k;
