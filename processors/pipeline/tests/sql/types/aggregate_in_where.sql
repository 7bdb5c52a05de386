-- refused: 1:74 «WHERE» an aggregate does not belong into WHERE, which looks at single rows; write it behind HAVING
CREATE VIEW w AS SELECT k, tumble(t, INTERVAL '1 second') AS win FROM ev WHERE count(*) > 1 GROUP BY k, win;
