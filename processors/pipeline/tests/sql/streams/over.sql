-- refused: 1:41 «OVER (PARTITION BY k ORDER BY t)» OVER (…) on a stream is not supported; use it above a windowed view
INSERT INTO sink SELECT k, row_number() OVER (PARTITION BY k ORDER BY t) AS c FROM ev;
