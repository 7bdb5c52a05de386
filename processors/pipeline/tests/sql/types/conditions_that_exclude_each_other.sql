-- refused: 1:93 «WHERE» the condition holds for no row, whatever comes; with NULL write IS NULL; see whether its parts can hold at once
CREATE VIEW never AS SELECT k, tumble(t, INTERVAL '1 second') AS win, count(*) AS c FROM ev WHERE n = 1 AND n = 2 GROUP BY k, win;
INSERT INTO sink SELECT k, c FROM never;
