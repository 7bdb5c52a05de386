-- warns of window-over-retention: 3:46 «tumble(t, INTERVAL '1 day')» the topic of `daily` keeps 1day, and a window of this needs 1day 1h; a processor that begins, or SQL that changes, finds a part of its rows: longer retention, or shorter windows
-- plans
CREATE EXTERNAL TABLE daily (t TIMESTAMP, k VARCHAR) STORED AS JSON LOCATION 'daily'
OPTIONS (event_time 't', lateness '1h', retention '1d', partition_key 'k');
INSERT INTO sink SELECT k, c FROM (SELECT k, tumble(t, INTERVAL '1 day') AS win, count(*) AS c FROM daily GROUP BY k, win);
INSERT INTO sink SELECT k, c FROM (SELECT k, tumble(t, INTERVAL '23 hours') AS win, count(*) AS c FROM daily GROUP BY k, win);
