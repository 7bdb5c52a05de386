-- refused: 1:67 «cout(*)» function `cout` is not known; did you mean `count`?
CREATE VIEW x AS SELECT k, tumble(t, INTERVAL '1 second') AS win, cout(*) AS c FROM ev GROUP BY k, win;
