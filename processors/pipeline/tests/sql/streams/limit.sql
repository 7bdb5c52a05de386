-- refused: 1:43 «LIMIT» ORDER BY and LIMIT on a stream need a window; put them above a windowed view
INSERT INTO sink SELECT k, n AS c FROM ev LIMIT 3;
