-- refused: 2:13 «tumble(at, INTERVAL '1 minute')» the window's time is `at`; over windows it must be a bound of theirs: hop(win.end, …) or hop(win.start, …)
INSERT INTO sink SELECT k, sum(c) AS c FROM (SELECT k, c, win.end + INTERVAL '1 second' AS at FROM per_s)
GROUP BY k, tumble(at, INTERVAL '1 minute');
