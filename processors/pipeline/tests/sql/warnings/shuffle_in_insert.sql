-- warns of shuffle: 1:118 «GROUP BY» groups lie in several partitions of `keyless`, so panes are sent between them; say by OPTIONS (partition_key '…') what decides a record's partition, and group by it
-- plans
INSERT INTO sink SELECT 'all' AS k, c FROM (SELECT tumble(t, INTERVAL '1 second') AS win, count(*) AS c FROM keyless GROUP BY win);
