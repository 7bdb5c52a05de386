-- refused: 1:75 «v» sum(…) is an aggregate within an aggregate; compute it in a view with a GROUP BY of its own, and take the outer one over that view
CREATE VIEW w AS SELECT k, tumble(t, INTERVAL '1 second') AS win, max(sum(v)) AS x FROM ev GROUP BY k, win;
