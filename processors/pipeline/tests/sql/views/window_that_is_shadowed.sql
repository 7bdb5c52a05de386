-- refused: 1:84 «AS win» windows belong into GROUP BY; `win` there is a column of what is read; give the new window another name
INSERT INTO sink SELECT k, c FROM (SELECT k, tumble(win.end, INTERVAL '2 seconds') AS win, sum(c) AS c FROM per_s
GROUP BY k, win);
