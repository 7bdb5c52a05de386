-- test: what an INSERT writes comes to the stream that reads it
INSERT INTO logins (at, host, attempts) VALUES ('12:00:00', 'a', 3), ('12:00:01', 'a', 1), ('12:00:02', 'a', 4), ('12:00:03', 'b', 5);
SELECT host, attempts FROM failures;
-- | host | attempts |
-- |------|----------|
-- | a    | 3        |
-- | a    | 4        |
-- | b    | 5        |
-- close
SELECT * FROM out_failing;
-- | host | attempts |
-- |------|----------|
-- | a    | 7        |

-- test: whoever is killed, once
-- partitions: 3
INSERT INTO logins (at, host, attempts) VALUES ('12:00:00', 'a', 3), ('12:00:02', 'a', 4);
-- kill
-- restart
INSERT INTO logins (at, host, attempts) VALUES ('12:00:05', 'a', 9);
-- kill
-- advance: 1m
SELECT * FROM out_failing;
-- | host | attempts |
-- |------|----------|
-- | a    | 16       |
SELECT sum(records) AS records FROM counters WHERE stream = 'failures';
-- | records |
-- |---------|
-- | 3       |
