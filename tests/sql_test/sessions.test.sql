-- test: a session lasts while rows come less than the gap apart
INSERT INTO logins (at, host, attempts) VALUES
  ('12:00:05', 'a', 1), ('12:00:07', 'b', 1), ('12:00:34', 'a', 2), ('12:00:36', 'b', 2), ('12:01:04', 'a', 4),
  ('12:01:03.999', 'a', 8), ('12:02:00', 'b', 4);
-- close
SELECT host, stay.start AS began, stay.end AS ended, logins, attempts FROM stays;
-- | host | began               | ended               | logins | attempts |
-- |------|---------------------|---------------------|--------|----------|
-- | b    | 2026-01-01 12:00:07 | 2026-01-01 12:01:06 | 2      | 3        |
-- | a    | 2026-01-01 12:00:05 | 2026-01-01 12:01:34 | 4      | 15       |
-- | b    | 2026-01-01 12:02:00 | 2026-01-01 12:02:30 | 1      | 4        |

-- test: rows as far apart as the gap are of two
INSERT INTO logins (at, host) VALUES ('12:00:05', 'a'), ('12:00:29', 'b'), ('12:00:35', 'a'), ('12:00:58.999', 'b');
-- close
SELECT host, stay.start AS began, stay.end AS ended, logins FROM stays;
-- | host | began               | ended                   | logins |
-- |------|---------------------|-------------------------|--------|
-- | a    | 2026-01-01 12:00:05 | 2026-01-01 12:00:35     | 1      |
-- | a    | 2026-01-01 12:00:35 | 2026-01-01 12:01:05     | 1      |
-- | b    | 2026-01-01 12:00:29 | 2026-01-01 12:01:28.999 | 2      |

-- test: a session comes out by a gap after its end, and not before
-- at: 12:00:05
INSERT INTO logins (host) VALUES ('a');
-- at: 12:00:55
INSERT INTO logins (host) VALUES ('b');
SELECT host FROM stays;
-- | host |
-- |------|
-- at: 12:01:03
INSERT INTO logins (host) VALUES ('b');
SELECT host, stay.end AS ended FROM stays;
-- | host | ended               |
-- |------|---------------------|
-- | a    | 2026-01-01 12:00:35 |

-- test: one that is longer than the longest comes in parts
INSERT INTO logins (at, host)
SELECT to_timestamp_seconds(1767269310 + value * 20), 'a' FROM generate_series(0, 12);
-- close
SELECT host, stay.start AS began, stay.end AS ended, logins FROM stays;
-- | host | began               | ended               | logins |
-- |------|---------------------|---------------------|--------|
-- | a    | 2026-01-01 12:08:30 | 2026-01-01 12:10:00 | 5      |
-- | a    | 2026-01-01 12:10:10 | 2026-01-01 12:13:00 | 8      |

-- test: a restart, a kill and a move change nothing
-- at: 12:00:00
INSERT INTO logins (host, user_name, attempts) VALUES ('a', 'root', 1), ('b', 'root', 2);
-- restart
-- advance: 25s
INSERT INTO logins (host, user_name, attempts) VALUES ('a', 'me', 10);
-- kill
-- advance: 25s
INSERT INTO logins (host, user_name, attempts) VALUES ('a', 'root', 100), ('c', 'me', 200);
-- move: 0
-- advance: 25s
INSERT INTO logins (host, user_name, attempts) VALUES ('a', 'root', 1000);
-- restart
-- advance: 10m
SELECT host, stay.start AS began, stay.end AS ended, logins, attempts FROM stays;
-- | host | began               | ended               | logins | attempts |
-- |------|---------------------|---------------------|--------|----------|
-- | b    | 2026-01-01 12:00:00 | 2026-01-01 12:00:30 | 1      | 2        |
-- | c    | 2026-01-01 12:00:50 | 2026-01-01 12:01:20 | 1      | 200      |
-- | a    | 2026-01-01 12:00:00 | 2026-01-01 12:01:45 | 4      | 1111     |
SELECT user_name, stay.start AS began, stay.end AS ended, logins FROM stays_of_users;
-- | user_name | began               | ended               | logins |
-- |-----------|---------------------|---------------------|--------|
-- | root      | 2026-01-01 12:00:00 | 2026-01-01 12:00:30 | 2      |
-- | me        | 2026-01-01 12:00:25 | 2026-01-01 12:01:20 | 2      |
-- | root      | 2026-01-01 12:00:50 | 2026-01-01 12:01:45 | 2      |

-- test: what comes after its pane is over is late
INSERT INTO logins (at, host) VALUES ('12:00:05', 'a'), ('12:00:31', 'a'), ('12:00:33', 'a'), ('12:00:06', 'a');
-- close
SELECT host, stay.start AS began, logins FROM stays;
-- | host | began               | logins |
-- |------|---------------------|--------|
-- | a    | 2026-01-01 12:00:05 | 3      |

-- test: windows over sessions have all of them
INSERT INTO logins (at, host)
SELECT to_timestamp_seconds(1767268800 + value * 7), CASE WHEN value % 20 < 12 THEN 'a' ELSE 'b' END
FROM generate_series(0, 199);
-- close
SELECT sum(stays) AS stays, sum(logins) AS logins FROM stays_ended;
-- | stays | logins |
-- |-------|--------|
-- | 21    | 200    |
SELECT count(*) AS stays, sum(logins) AS logins FROM stays;
-- | stays | logins |
-- |-------|--------|
-- | 21    | 200    |
SELECT host, spell.start AS began, spell.end AS ended, minutes FROM minutes_of_stays;
-- | host | began               | ended               | minutes |
-- |------|---------------------|---------------------|---------|
-- | b    | 2026-01-01 12:02:00 | 2026-01-01 12:07:00 | 4       |
-- | a    | 2026-01-01 12:01:00 | 2026-01-01 12:08:00 | 6       |
-- | b    | 2026-01-01 12:07:00 | 2026-01-01 12:09:00 | 1       |
-- | b    | 2026-01-01 12:09:00 | 2026-01-01 12:14:00 | 4       |
-- | a    | 2026-01-01 12:08:00 | 2026-01-01 12:15:00 | 6       |
-- | b    | 2026-01-01 12:14:00 | 2026-01-01 12:16:00 | 1       |
-- | b    | 2026-01-01 12:16:00 | 2026-01-01 12:21:00 | 4       |
-- | a    | 2026-01-01 12:15:00 | 2026-01-01 12:22:00 | 6       |
-- | b    | 2026-01-01 12:21:00 | 2026-01-01 12:23:00 | 1       |
-- | a    | 2026-01-01 12:22:00 | 2026-01-01 12:25:00 | 2       |
-- | b    | 2026-01-01 12:23:00 | 2026-01-01 12:26:00 | 2       |

-- test: many that are over at once are each told as one that is alone
INSERT INTO logins (at, host) VALUES
  ('12:00:01', 'a'), ('12:00:01', 'b'), ('12:00:01', 'c'), ('12:00:02', 'd'), ('12:00:02', 'e'), ('12:00:04', 'a'),
  ('12:00:04', 'b'), ('12:00:05', 'c'), ('12:00:05', 'd'), ('12:00:40', 'a'), ('12:00:41', 'a'), ('12:00:41', 'f'), ('12:00:42', 'f');
-- restart
-- advance: 2m
SELECT * FROM out_stays ORDER BY began, host;
-- | host | began               | twice |
-- |------|---------------------|-------|
-- | a    | 2026-01-01 12:00:01 | 4     |
-- | b    | 2026-01-01 12:00:01 | 4     |
-- | c    | 2026-01-01 12:00:01 | 4     |
-- | d    | 2026-01-01 12:00:02 | 4     |
-- | a    | 2026-01-01 12:00:40 | 4     |
-- | f    | 2026-01-01 12:00:41 | 4     |
SELECT * FROM out_stays_in_order ORDER BY began, host;
-- | host | began               | twice |
-- |------|---------------------|-------|
-- | a    | 2026-01-01 12:00:01 | 4     |
-- | b    | 2026-01-01 12:00:01 | 4     |
-- | c    | 2026-01-01 12:00:01 | 4     |
-- | d    | 2026-01-01 12:00:02 | 4     |
-- | a    | 2026-01-01 12:00:40 | 4     |
-- | f    | 2026-01-01 12:00:41 | 4     |

-- test: what was only noted is read again with what comes after it
CREATE VIEW spells_of_one AS
SELECT host, session(win.end, INTERVAL '1 minute', INTERVAL '1 hour') AS spell, count(*) AS tens
FROM (SELECT host, tumble(at, INTERVAL '10 seconds') AS win, count(*) AS logins FROM slow_logins GROUP BY host, win HAVING count(*) = 1)
GROUP BY host, spell;
INSERT INTO slow_logins (at, host) VALUES ('12:00:41', 'a'), ('12:00:52', 'a'), ('12:00:42', 'a');
INSERT INTO slow_logins (at, host) VALUES ('12:01:25', 'a'), ('12:01:26', 'a');
-- restart
INSERT INTO slow_logins (at, host) VALUES ('12:01:27', 'a');
-- close
SELECT host, spell.start AS began, tens FROM spells_of_one;
-- | host | began               | tens |
-- |------|---------------------|------|
-- | a    | 2026-01-01 12:01:00 | 1    |
