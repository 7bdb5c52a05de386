-- test: rows that share records come to the partitions of their keys
-- partitions: 3
INSERT INTO calls (at, host, account, calls) VALUES
    ('12:00:00', 'a', 'u1', 1), ('12:00:01', 'a', 'u2', 2), ('12:00:02', 'a', 'u3', 3), ('12:00:03', 'a', 'u4', 4), ('12:00:03', 'a', 'u5', 4),
    ('12:00:01', 'b', 'u1', 1), ('12:00:02', 'b', 'u2', 2), ('12:00:03', 'b', 'u5', 5), ('12:00:03', 'c', 'u2', 6), ('12:00:04', 'c', 'u3', 7);
-- advance: 1m
-- kill
-- advance: 1m
SELECT account, rows, calls FROM out_anywhere ORDER BY account;
-- | account | rows | calls |
-- |---------|------|-------|
-- | u1      | 2    | 2     |
-- | u2      | 3    | 10    |
-- | u3      | 2    | 10    |
-- | u4      | 1    | 4     |
-- | u5      | 2    | 9     |
SELECT sum(records) AS records, sum(rows) AS rows FROM counters WHERE stream = 'per_account';
-- | records | rows |
-- |---------|------|
-- | 8       | 10   |
