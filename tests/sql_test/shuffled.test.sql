-- test: groups of all partitions are merged
-- partitions: 3
INSERT INTO logins (_partition, at, host, user_name, attempts) VALUES
  (0, '12:00:01', 'a', 'x', 1), (1, '12:00:02', 'b', 'x', 10), (2, '12:00:03', 'c', 'x', 100), (2, '12:00:03', 'c', 'y', 7);
-- advance: 1m
SELECT user_name, attempts FROM out_by_user;
-- | user_name | attempts |
-- |-----------|----------|
-- | x         | 111      |
-- | y         | 7        |

-- test: a partition that is idle is not waited for, and one that is not is
-- partitions: 2
INSERT INTO logins (_partition, at, host, user_name, attempts) VALUES (0, '12:00:01', 'a', 'x', 1), (1, '12:00:02', 'b', 'x', 10);
INSERT INTO logins (_partition, at, host, user_name, attempts) VALUES (0, '12:00:13', 'a', 'x', 1000);
SELECT attempts FROM out_by_user;
-- | attempts |
-- |----------|
-- advance: 10s
INSERT INTO logins (_partition, at, host, user_name, attempts) VALUES (0, '12:00:23', 'a', 'x', 1000);
SELECT attempts FROM out_by_user;
-- | attempts |
-- |----------|
-- | 11       |

-- test: whoever merges may end at any time
-- partitions: 2
INSERT INTO logins (_partition, at, host, user_name, attempts) VALUES (0, '12:00:01', 'a', 'x', 1), (1, '12:00:02', 'b', 'x', 10);
-- restart
INSERT INTO logins (_partition, at, host, user_name, attempts) VALUES (0, '12:00:11', 'a', 'x', 5), (1, '12:00:13', 'b', 'x', 50);
-- kill
-- move: 1
INSERT INTO logins (_partition, at, host, user_name, attempts) VALUES (0, '12:00:22', 'a', 'x', 5), (1, '12:00:22', 'b', 'y', 50);
-- kill
-- move: 0
-- advance: 1m
-- kill
SELECT win.start AS begins, user_name, attempts FROM by_user ORDER BY begins, user_name;
-- | begins              | user_name | attempts |
-- |---------------------|-----------|----------|
-- | 2026-01-01 12:00:00 | x         | 11       |
-- | 2026-01-01 12:00:10 | x         | 55       |
-- | 2026-01-01 12:00:20 | x         | 5        |
-- | 2026-01-01 12:00:20 | y         | 50       |
SELECT count(*) AS records FROM out_by_user;
-- | records |
-- |---------|
-- | 4       |
