-- refused: 2:8 «cc» column `cc` is not known; did you mean `c`?
CREATE VIEW w AS SELECT k, tumble(t, INTERVAL '1 second') AS win, count(*) AS c FROM ev GROUP BY k, win
HAVING cc > 3;
