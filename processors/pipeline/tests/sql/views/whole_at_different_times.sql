-- refused: 1:48 «JOIN» joins windows that are whole at different times: one is over the end of other windows, one is not or is over their start; use win.end in all of them
INSERT INTO sink SELECT a.k, b.c FROM per_2s a JOIN (SELECT k, tumble(win.start, INTERVAL '2 seconds') AS two,
sum(c) AS c FROM (SELECT k, hop(t, INTERVAL '1 second', INTERVAL '3 seconds') AS win, count(*) AS c FROM ev
GROUP BY k, win) GROUP BY k, two) b ON a.k = b.k;
