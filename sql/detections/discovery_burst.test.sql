-- test: a shell runs sixteen of the commands within a second
INSERT INTO processes (kind, comm, exe, pid, euid, parent_comm, parent_pid, lifetime_us, observed_at)
SELECT kind, comm, concat('/usr/bin/', comm), 501 + n, 1000, 'sh', 500, lifetime_us,
       concat('12:00:00.', lpad(100 + 40 * n + after_ms, 3, '0'))
FROM (VALUES ('id', 0), ('whoami', 1), ('groups', 2), ('uname', 3), ('hostname', 4), ('arch', 5), ('nproc', 6),
             ('uptime', 7), ('who', 8), ('w', 9), ('users', 10), ('ps', 11), ('df', 12), ('free', 13), ('env', 14),
             ('lsmod', 15)) AS programs(comm, n),
     (VALUES ('PROCESS_EVENT_KIND_FORK', 0, 0), ('PROCESS_EVENT_KIND_EXEC', 1, 0),
             ('PROCESS_EVENT_KIND_EXIT', 5, 5000)) AS life(kind, after_ms, lifetime_us)
ORDER BY n, after_ms;
-- advance: 5m
SELECT detection, entity, time, severity IN ('HIGH', 'CRITICAL') AS is_severe,
       features['discovery_execs'] AS discovery_execs, features['distinct_discovery'] AS distinct_discovery,
       features['execs'] AS execs, features['distinct_comm'] AS distinct_comm, features['short_lived'] AS short_lived,
       features['mean_lifetime_us'] AS mean_lifetime_us
FROM alerts ORDER BY detection, time;
-- | detection       | entity | time                    | is_severe | discovery_execs | distinct_discovery | execs | distinct_comm | short_lived | mean_lifetime_us |
-- |-----------------|--------|-------------------------|-----------|-----------------|--------------------|-------|---------------|-------------|------------------|
-- | discovery_burst | sh 500 | 2026-01-01 12:00:00.705 | true      | 16.0            | 16.0               | 16.0  | 16.0          | 16.0        | 5000.0           |

-- test: two of the commands, often
INSERT INTO processes (kind, comm, exe, pid, euid, parent_comm, parent_pid, lifetime_us, observed_at)
SELECT kind, comm, concat('/usr/bin/', comm), 521 + n, 1000, 'monitor', 520, lifetime_us,
       concat('12:00:00.', lpad(100 + 40 * n + after_ms, 3, '0'))
FROM (VALUES ('ps', 0), ('df', 1), ('ps', 2), ('df', 3), ('ps', 4), ('df', 5), ('ps', 6), ('df', 7), ('ps', 8),
             ('df', 9), ('ps', 10), ('df', 11), ('ps', 12), ('df', 13), ('ps', 14),
             ('df', 15)) AS programs(comm, n),
     (VALUES ('PROCESS_EVENT_KIND_FORK', 0, 0), ('PROCESS_EVENT_KIND_EXEC', 1, 0),
             ('PROCESS_EVENT_KIND_EXIT', 5, 5000)) AS life(kind, after_ms, lifetime_us)
ORDER BY n, after_ms;
-- advance: 5m
SELECT detection, entity, time FROM alerts ORDER BY detection, time;
-- | detection | entity | time |
-- |-----------|--------|------|

-- test: a build: many runs of few programs
INSERT INTO processes (kind, comm, exe, pid, euid, parent_comm, parent_pid, lifetime_us, observed_at)
SELECT kind, comm, concat('/usr/bin/', comm), 541 + n, 1000, 'make', 540, lifetime_us,
       concat('12:00:00.', lpad(100 + 25 * n + after_ms, 3, '0'))
FROM (VALUES ('cc', 0), ('as', 1), ('ld', 2), ('cc', 3), ('as', 4), ('ar', 5), ('cc', 6), ('as', 7), ('ld', 8),
             ('cc', 9), ('as', 10), ('ar', 11), ('cc', 12), ('as', 13), ('ld', 14), ('cc', 15), ('as', 16),
             ('ar', 17), ('cc', 18), ('as', 19), ('ld', 20), ('cc', 21), ('as', 22), ('ar', 23), ('cc', 24),
             ('as', 25), ('ld', 26), ('cc', 27), ('as', 28), ('ar', 29)) AS programs(comm, n),
     (VALUES ('PROCESS_EVENT_KIND_FORK', 0, 0), ('PROCESS_EVENT_KIND_EXEC', 1, 0),
             ('PROCESS_EVENT_KIND_EXIT', 5, 5000)) AS life(kind, after_ms, lifetime_us)
ORDER BY n, after_ms;
-- advance: 5m
SELECT detection, entity, time FROM alerts ORDER BY detection, time;
-- | detection | entity | time |
-- |-----------|--------|------|

-- test: a login: a handful of programs, two of the commands
INSERT INTO processes (kind, comm, exe, pid, euid, parent_comm, parent_pid, lifetime_us, observed_at)
SELECT kind, comm, concat('/usr/bin/', comm), 561 + n, 1000, 'bash', 560, lifetime_us,
       concat('12:00:00.', lpad(100 + 60 * n + after_ms, 3, '0'))
FROM (VALUES ('id', 0), ('tty', 1), ('locale', 2), ('dircolors', 3), ('lesspipe', 4)) AS programs(comm, n),
     (VALUES ('PROCESS_EVENT_KIND_FORK', 0, 0), ('PROCESS_EVENT_KIND_EXEC', 1, 0),
             ('PROCESS_EVENT_KIND_EXIT', 5, 5000)) AS life(kind, after_ms, lifetime_us)
ORDER BY n, after_ms;
-- advance: 5m
SELECT detection, entity, time FROM alerts ORDER BY detection, time;
-- | detection | entity | time |
-- |-----------|--------|------|

-- test: a shell script's ordinary tools
INSERT INTO processes (kind, comm, exe, pid, euid, parent_comm, parent_pid, lifetime_us, observed_at)
SELECT kind, comm, concat('/usr/bin/', comm), 581 + n, 1000, 'sh', 580, lifetime_us,
       concat('12:00:00.', lpad(100 + 50 * n + after_ms, 3, '0'))
FROM (VALUES ('sed', 0), ('grep', 1), ('cut', 2), ('tr', 3), ('sort', 4), ('uniq', 5), ('head', 6), ('wc', 7),
             ('cat', 8), ('basename', 9)) AS programs(comm, n),
     (VALUES ('PROCESS_EVENT_KIND_FORK', 0, 0), ('PROCESS_EVENT_KIND_EXEC', 1, 0),
             ('PROCESS_EVENT_KIND_EXIT', 5, 5000)) AS life(kind, after_ms, lifetime_us)
ORDER BY n, after_ms;
-- advance: 5m
SELECT detection, entity, time FROM alerts ORDER BY detection, time;
-- | detection | entity | time |
-- |-----------|--------|------|

-- test: the commands, each under another parent
INSERT INTO processes (kind, comm, exe, pid, euid, parent_comm, parent_pid, lifetime_us, observed_at)
SELECT kind, comm, concat('/usr/bin/', comm), 601 + n, 1000, 'bash', 651 + n, lifetime_us,
       concat('12:00:00.', lpad(100 + 40 * n + after_ms, 3, '0'))
FROM (VALUES ('id', 0), ('whoami', 1), ('groups', 2), ('uname', 3), ('hostname', 4), ('arch', 5), ('nproc', 6),
             ('uptime', 7)) AS programs(comm, n),
     (VALUES ('PROCESS_EVENT_KIND_FORK', 0, 0), ('PROCESS_EVENT_KIND_EXEC', 1, 0),
             ('PROCESS_EVENT_KIND_EXIT', 5, 5000)) AS life(kind, after_ms, lifetime_us)
ORDER BY n, after_ms;
-- advance: 5m
SELECT detection, entity, time FROM alerts ORDER BY detection, time;
-- | detection | entity | time |
-- |-----------|--------|------|

-- test: what root lets cron collect, and a user's job that does the same
INSERT INTO processes (kind, comm, exe, pid, euid, parent_comm, parent_pid, ancestors, lifetime_us, observed_at)
SELECT kind, comm, concat('/usr/bin/', comm), 601 + 100 * parent + n, euid, 'collect', 600 + parent,
       make_array('/usr/bin/dash', '/usr/bin/dash', '/usr/sbin/cron', '/usr/sbin/init'), lifetime_us,
       concat('12:00:00.', lpad(100 + 40 * n + after_ms, 3, '0'))
FROM (VALUES ('id', 0), ('whoami', 1), ('groups', 2), ('uname', 3), ('hostname', 4), ('arch', 5), ('nproc', 6),
             ('uptime', 7), ('who', 8), ('w', 9), ('users', 10), ('ps', 11), ('df', 12), ('free', 13), ('env', 14),
             ('lsmod', 15)) AS programs(comm, n),
     (VALUES ('PROCESS_EVENT_KIND_FORK', 0, 0), ('PROCESS_EVENT_KIND_EXEC', 1, 0),
             ('PROCESS_EVENT_KIND_EXIT', 5, 5000)) AS life(kind, after_ms, lifetime_us),
     (VALUES (1, 0), (2, 1000)) AS users(parent, euid)
ORDER BY n, after_ms;
-- advance: 5m
SELECT DISTINCT detection, entity FROM alerts;
-- | detection       | entity      |
-- |-----------------|-------------|
-- | discovery_burst | collect 602 |
