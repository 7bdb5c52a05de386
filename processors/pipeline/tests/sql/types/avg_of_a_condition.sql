-- refused: 1:64 «avg(win_name)» `avg` does not take (BOOLEAN); it takes numbers
CREATE VIEW w AS SELECT tumble(t, INTERVAL '1 second') AS win, avg(win_name) AS s FROM (SELECT t, true AS win_name FROM ev) GROUP BY win;
