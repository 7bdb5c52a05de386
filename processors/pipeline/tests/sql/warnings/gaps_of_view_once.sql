-- warns of window-gaps: 1:34 «hop(t, INTERVAL '10 seconds', INTERVAL '2 seconds')» a window of 2s every 10s: rows between two windows are in none; hop takes slide before size: hop(…, INTERVAL '2s', INTERVAL '10s')
-- plans
CREATE VIEW sampled AS SELECT k, hop(t, INTERVAL '10 seconds', INTERVAL '2 seconds') AS win, count(*) AS c FROM ev GROUP BY k, win;
CREATE VIEW many AS SELECT * FROM sampled WHERE c > 1;
INSERT INTO sink SELECT k, c FROM many;
INSERT INTO sink SELECT k, c FROM sampled;
