-- warns of shuffle: 1:59 «GROUP BY» groups lie in several partitions of `ev`, so panes are sent between them; groups with `k`, the partition key, stay where they are
-- plans
INSERT INTO sink SELECT 'all' AS k, count(*) AS c FROM ev GROUP BY tumble(t, INTERVAL '1 second');
