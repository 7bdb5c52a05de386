-- warns of shuffle: 1:92 «GROUP BY» groups lie in several partitions of `ev`, so panes are sent between them; groups with `k`, the partition key, stay where they are
-- plans
CREATE VIEW by_n AS SELECT n, tumble(t, INTERVAL '1 second') AS win, count(*) AS c FROM ev GROUP BY n, win;
INSERT INTO sink SELECT CAST(n AS VARCHAR) AS k, c FROM by_n;
