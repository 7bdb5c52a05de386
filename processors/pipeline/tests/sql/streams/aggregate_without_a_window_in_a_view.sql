-- refused: 1:50 «GROUP BY» an aggregate over a stream without a window never ends; add hop(…) or tumble(…) to GROUP BY
CREATE VIEW w AS SELECT k, count(*) AS c FROM ev GROUP BY k;
INSERT INTO sink SELECT k, c FROM w;
