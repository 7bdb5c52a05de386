CREATE EXTERNAL TABLE ev (t TIMESTAMP, k VARCHAR, n BIGINT, v DOUBLE, unused VARCHAR) STORED AS JSON LOCATION 'ev'
OPTIONS (event_time 't', lateness '1s', idle '5s', replay_max '1m', partition_key 'k');
CREATE EXTERNAL TABLE out (k VARCHAR, n BIGINT, c BIGINT, x DOUBLE) STORED AS JSON LOCATION 'out' OPTIONS (partition_key 'k');
-- Two that share panes.
CREATE VIEW short AS SELECT k, hop(t, INTERVAL '1 second', INTERVAL '5 seconds') AS win, count(*) AS c
FROM ev WHERE n > 0 GROUP BY k, win;
CREATE VIEW long AS SELECT k, hop(t, INTERVAL '1 second', INTERVAL '90 seconds') AS win, count(*) AS c, avg(v) AS x
FROM ev WHERE n > 0 GROUP BY k, win;
-- Over their windows.
CREATE VIEW minutes AS SELECT k, tumble(win.end, INTERVAL '1 minute') AS minute, max(c) AS most FROM short GROUP BY k, minute;
-- Groups that lie in all partitions.
CREATE VIEW by_n AS SELECT n, tumble(t, INTERVAL '1 second') AS win, count(DISTINCT k) AS ks FROM ev GROUP BY n, win;
-- Of the same window, so that they can be joined.
CREATE VIEW high AS SELECT k, hop(t, INTERVAL '1 second', INTERVAL '5 seconds') AS win, max(v) AS x FROM ev WHERE v > 1 GROUP BY k, win;
INSERT INTO out SELECT short.k, short.c, high.x FROM short JOIN high ON short.k = high.k AND short.win = high.win
WHERE short.c IN (1, 2);
INSERT INTO out SELECT k, c, x FROM long WHERE x > 0.5;
INSERT INTO out SELECT k, most AS c FROM minutes;
INSERT INTO out SELECT n, ks AS c FROM by_n;
-- Row by row.
INSERT INTO out SELECT k, n FROM ev WHERE k = 'it''s';
