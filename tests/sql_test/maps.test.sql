-- test: a map is accessed by key, in rows and in windows
INSERT INTO scored (window_end, host_id, features) VALUES
  ('12:00:01', 'a', MAP {'execs': 2.0, 'forks': 9.0}),
  ('12:00:02', 'a', MAP {'execs': 0.5, 'forks': 9.0}),
  ('12:00:03', 'b', MAP {'forks': 9.0, 'exits': 0.0});
-- close
SELECT host, execs, most FROM out_maps;
-- | host | execs | most |
-- |------|-------|------|
-- | a    | 2.0   | null |
-- | a    | null  | 2.0  |
-- | b    | null  | null |
