-- refused: 1:56 «_late» `_late` says what windows have closed, so it is in none; use it in an INSERT of rows: INSERT INTO … SELECT … FROM ev WHERE _late
INSERT INTO sink SELECT k, count(*) AS c FROM ev WHERE _late GROUP BY k, tumble(t, INTERVAL '1 second');
