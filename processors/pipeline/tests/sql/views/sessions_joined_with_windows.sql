-- refused: 2:48 «JOIN» joins views of different windows (sessions of gap 1s, at most 1h and slide 1s, size 1s); give them the same window
CREATE VIEW visits AS SELECT k, session(t, INTERVAL '1 second', INTERVAL '1 hour') AS win, count(*) AS c FROM ev GROUP BY k, win;
INSERT INTO sink SELECT a.k, b.c FROM visits a JOIN per_s b ON a.k = b.k;
