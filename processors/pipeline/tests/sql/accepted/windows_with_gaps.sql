-- warns of window-gaps: 1:62 «hop(t, INTERVAL '5 seconds', INTERVAL '2 seconds')» a window of 2s every 5s: rows between two windows are in none; hop takes slide before size: hop(…, INTERVAL '2s', INTERVAL '5s')
-- plans
INSERT INTO sink SELECT k, count(*) AS c FROM ev GROUP BY k, hop(t, INTERVAL '5 seconds', INTERVAL '2 seconds');
