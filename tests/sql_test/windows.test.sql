-- test: a window closes when time has passed, not before
INSERT INTO logins (at, host, attempts) VALUES ('12:00:00', 'a', 1), ('12:00:09', 'a', 4);
SELECT count(*) AS windows FROM by_host;
-- | windows |
-- |---------|
-- | 0       |
-- advance: 8s
SELECT count(*) AS windows FROM by_host;
-- | windows |
-- |---------|
-- | 0       |
-- advance: 10s
SELECT host, win, logins, attempts FROM by_host;
-- | host | win                                                            | logins | attempts |
-- |------|----------------------------------------------------------------|--------|----------|
-- | a    | {start: 2026-01-01 12:00:00, end: 2026-01-01 12:00:10} | 2 | 5 |
SELECT * FROM out_by_host;
-- | host | per_login |
-- | a | 20 |

-- test: the end of the topics closes windows too
INSERT INTO logins (at, host, attempts) VALUES ('12:00:00', 'a', 1);
-- close
SELECT host, logins FROM by_host;
-- | host | logins |
-- | a | 1 |

-- test: the clock gives rows their time, and goes on with them
-- at: 12:00:30
INSERT INTO logins (host, attempts) VALUES ('a', 1);
-- advance: 5s
INSERT INTO logins (host, attempts) VALUES ('a', 1);
INSERT INTO logins (at, host, attempts) VALUES ('12:00:52', 'a', 1);
INSERT INTO logins (host, attempts) VALUES ('a', 1);
-- at: 12:00:01
-- error: does not go back
-- advance: 1m
SELECT win.start AS begins, logins FROM by_host ORDER BY begins;
-- | begins              | logins |
-- |---------------------|--------|
-- | 2026-01-01 12:00:30 | 2      |
-- | 2026-01-01 12:00:50 | 2      |

-- test: late rows (of each view), rows without a time, and rows from the future are counted and not computed
-- partitions: 2
INSERT INTO logins (_partition, at, host, attempts) VALUES (0, '12:00:00', 'a', 1), (0, '12:00:20', 'a', 1);
INSERT INTO logins (_partition, at, host, attempts) VALUES (0, '12:00:09', 'a', 1), (0, NULL, 'a', 1);
INSERT INTO logins (_partition, at, _log_time, host, attempts) VALUES (1, '12:05:00', '12:00:21', 'b', 1);
-- close
SELECT partition, rows, late_rows, rows_without_time, quarantined_rows
FROM counters WHERE stream = 'logins' ORDER BY partition;
-- | partition | rows | late_rows | rows_without_time | quarantined_rows |
-- |-----------|------|-----------|-------------------|------------------|
-- | 0         | 3    | 2         | 1                 | 0                |
-- | 1         | 0    | 0         | 0                 | 1                |
SELECT sum(logins) AS logins FROM by_host;
-- | logins |
-- |--------|
-- | 2      |

-- test: records that are none of the stream's are dead letters, and the others go on
-- at: 12:00:00
INSERT INTO logins (_payload) VALUES
  ('{"at": "2026-01-01T12:00:00Z", "host": "a", "attempts": 2}'),
  ('{"at": "2026-01-01T12:00:00Z", "host": '),
  ('no JSON');
-- close
SELECT "offset", reason FROM dead_letters ORDER BY "offset";
-- | offset | reason    |
-- |--------|-----------|
-- | 1      | malformed |
-- | 2      | malformed |
SELECT records, rows, dead_records FROM counters WHERE stream = 'logins';
-- | records | rows | dead_records |
-- |---------|------|--------------|
-- | 3       | 1    | 2            |

-- test: what a processor would end with is an error of the step that it is found in
CREATE EXTERNAL TABLE logins (at TIMESTAMP, host TEXT, user_name TEXT, attempts BIGINT, tags TEXT[])
STORED AS JSON LOCATION 'logins'
OPTIONS (event_time 'at', lateness '2s', idle '5s', max_skew '1m', replay_max '10s', partition_key 'host', on_error 'stop');
INSERT INTO logins (_payload) VALUES ('no JSON');
-- error: not a JSON object

-- test: what cannot be computed is null, and told
INSERT INTO logins (at, host, attempts) VALUES ('12:00:00', 'a', 0), ('12:00:00', 'b', 4);
-- close
SELECT * FROM out_by_host;
-- | host | per_login |
-- |------|-----------|
-- | a    | null      |
-- | b    | 25        |
-- restart
SELECT expression, rows, example FROM failed_expressions;
-- | expression     | rows | example                        |
-- |----------------|------|--------------------------------|
-- | 100 / attempts | 1    | attempts = 0: division by zero |
SELECT failed_expressions FROM counters WHERE stream = 'logins';
-- | failed_expressions |
-- |--------------------|
-- | 1                  |

-- test: rows that are none of the stream's are errors
INSERT INTO logins (at, hots) VALUES ('12:00:00', 'a');
-- error: `hots` is no column of `logins`; did you mean `host`?
INSERT INTO logins (at, host, attempts) VALUES ('noon', 'a', 1);
-- error: `noon` is no time
INSERT INTO logins (at, host, attempts) VALUES ('12:00:00', 'a', 'many');
-- error: column `attempts`
INSERT INTO logins (_partition, at, host) VALUES (1, '12:00:00', 'a');
-- error: there is no partition 1: the test has 1
INSERT INTO login (at, host) VALUES ('12:00:00', 'a');
-- error: no view reads a stream `login`
SELECT nothing FROM by_host;
-- error: nothing
SELECT host FROM by_hots;
-- error: `by_hots` is nothing that a test can ask for; did you mean `by_host`?

-- test: rows may be computed, and lists and quotes are what they are in SQL
INSERT INTO logins (at, host, user_name, tags)
SELECT concat('12:00:0', n), 'it''s', 'root', make_array(concat('t', n), 'x') FROM generate_series(1, 3) AS s(n);
SELECT host, tag FROM out_rows ORDER BY tag;
-- | host | tag |
-- |------|-----|
-- | it's | t1  |
-- | it's | t2  |
-- | it's | t3  |

-- test: rows are told once, whoever computed them
INSERT INTO logins (at, host, user_name) VALUES ('12:00:01', 'a', 'root'), ('12:00:02', 'b', 'root');
-- kill
-- restart
INSERT INTO logins (at, host, user_name) VALUES ('12:00:03', 'c', 'root');
-- move: 0
-- kill
SELECT host FROM out_rows;
-- | host |
-- |------|
-- | c    |
-- | b    |
-- | a    |

-- test: a test may have SQL of its own, which is no other test's
CREATE VIEW busy AS SELECT host, logins FROM by_host WHERE logins > 1;
INSERT INTO logins (at, host, attempts) VALUES ('12:00:00', 'a', 1), ('12:00:01', 'a', 1), ('12:00:01', 'b', 1);
-- close
SELECT host FROM busy;
-- | host |
-- |------|
-- | a    |

-- test: SQL of its own may stand in the place of the files'
CREATE VIEW by_host AS
SELECT host, tumble(at, INTERVAL '1 second') AS win, count(*) AS logins, 1 AS attempts FROM logins GROUP BY host, win;
INSERT INTO logins (at, host) VALUES ('12:00:00', 'a'), ('12:00:01', 'a');
-- close
SELECT count(*) AS windows FROM by_host;
-- | windows |
-- |---------|
-- | 2       |

-- test: SQL that is to be refused
CREATE VIEW wrong AS SELECT host, sum(user_name) AS x, tumble(at, INTERVAL '1 second') AS win FROM logins GROUP BY host, win;
-- error: `sum` does not take (VARCHAR)

-- test: windows that are kept as panes go on where they were
-- at: 12:00:00
INSERT INTO logins (host, attempts) VALUES ('a', 1);
-- advance: 20m
INSERT INTO logins (host, attempts) VALUES ('a', 1);
-- restart
-- advance: 20m
INSERT INTO logins (host, attempts) VALUES ('a', 1);
-- kill
INSERT INTO logins (host, attempts) VALUES ('a', 1), ('b', 1);
-- restart
-- advance: 1h
SELECT * FROM out_by_hour ORDER BY host;
-- | host | logins |
-- |------|--------|
-- | a    | 4      |
-- | b    | 1      |
