-- refused: 1:64 «shed_rows(n)» shed_rows takes no argument; shed_rows() tells how many rows the window lacks
CREATE VIEW w AS SELECT tumble(t, INTERVAL '1 second') AS win, shed_rows(n) AS s FROM ev GROUP BY win;
