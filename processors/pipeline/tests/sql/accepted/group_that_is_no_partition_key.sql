-- warns of shuffle: 1:55 «GROUP BY» groups lie in several partitions of `keyless`, so panes are sent between them; say by OPTIONS (partition_key '…') what decides a record's partition, and group by it
-- plans
INSERT INTO sink SELECT k, count(*) AS c FROM keyless GROUP BY k, tumble(t, INTERVAL '1 second');
