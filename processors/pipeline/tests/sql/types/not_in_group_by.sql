-- refused: 1:28 «v» column `v` is neither in GROUP BY nor within an aggregate; add it to GROUP BY, or take an aggregate of it: max(v)
CREATE VIEW w AS SELECT k, v, tumble(t, INTERVAL '1 second') AS win, count(*) AS c FROM ev GROUP BY k, win;
