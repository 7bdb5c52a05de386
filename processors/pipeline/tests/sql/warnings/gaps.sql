-- warns of window-gaps: 1:46 «hop(t, INTERVAL '10 seconds', INTERVAL '2 seconds')» a window of 2s every 10s: rows between two windows are in none; hop takes slide before size: hop(…, INTERVAL '2s', INTERVAL '10s')
-- plans
INSERT INTO sink SELECT k, c FROM (SELECT k, hop(t, INTERVAL '10 seconds', INTERVAL '2 seconds') AS win, count(*) AS c FROM ev GROUP BY k, win);
