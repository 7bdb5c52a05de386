-- test: a pattern over panes, out of order and across a restart
INSERT INTO acts (at, host, name, took) VALUES
  ('12:00:06', 'a', 'exec', 5), ('12:00:01', 'a', 'drop', 10), ('12:00:01', 'b', 'chmod', 500);
-- restart
INSERT INTO acts (at, host, name, took) VALUES
  ('12:00:04', 'a', 'chmod', 99), ('12:00:02', 'a', 'drop', NULL), ('12:00:03', 'b', 'drop', 1000);
-- close
SELECT host, win.end AS ends, steps, frequent, durations, last_name FROM acts_10s;
-- | host | ends                | steps | frequent                                            | durations | last_name |
-- |------|---------------------|-------|-----------------------------------------------------|-----------|-----------|
-- | a    | 2026-01-01 12:00:05 | 2     | [{value: drop, count: 2}, {value: chmod, count: 1}] | [0, 2, 0] | chmod     |
-- | b    | 2026-01-01 12:00:05 | 1     | [{value: chmod, count: 1}, {value: drop, count: 1}] | [0, 0, 2] | drop      |
-- | a    | 2026-01-01 12:00:10 | 3     | [{value: drop, count: 2}, {value: chmod, count: 1}] | [1, 2, 0] | exec      |
-- | b    | 2026-01-01 12:00:10 | 1     | [{value: chmod, count: 1}, {value: drop, count: 1}] | [0, 0, 2] | drop      |
-- | a    | 2026-01-01 12:00:15 | 0     | [{value: exec, count: 1}]                           | [1, 0, 0] | exec      |
SELECT host, round(acts, 3) AS acts FROM usual;
-- | host | acts  |
-- |------|-------|
-- | a    | 2.143 |
-- | b    | 2.0   |

-- test: arguments that cannot be are refused
CREATE VIEW wrong AS SELECT host, tumble(at, INTERVAL '1 second') AS win, sequence(at, name = 'a') AS s FROM acts GROUP BY host, win;
CREATE VIEW wrong_k AS SELECT host, tumble(at, INTERVAL '1 second') AS win, top_k(name, took) AS t FROM acts GROUP BY host, win;
-- error: sequence takes a time and 2 to 8 conditions
-- error: the k of top_k must be a literal from 1 to 100
