-- test: names, addresses and texts
INSERT INTO names (at, name, address) VALUES
  ('12:00:00', 'www.example.co.uk', '10.1.2.3'), ('12:00:01', 'a.example.co.uk', '8.8.8.8'),
  ('12:00:02', 'co.uk', 'fd00::1'), ('12:00:03', 'aaa.aaa', 'none'), ('12:00:04', NULL, NULL);
SELECT name, domain, scope, inside, bits FROM out_names;
-- | name              | domain        | scope   | inside | bits |
-- |-------------------|---------------|---------|--------|------|
-- | www.example.co.uk | example.co.uk | private | true   | 3.41 |
-- | a.example.co.uk   | example.co.uk | global  | false  | 3.32 |
-- | co.uk             | null          | private | true   | 2.32 |
-- | null              | null          | null    | null   | null |
-- close
SELECT name, bits, inside FROM out_names WHERE domain IS NULL AND scope IS NULL;
-- | name          | bits | inside |
-- |---------------|------|--------|
-- | null          | null | null   |
-- | example.co.uk | 0.2  | false  |
-- | null          | 0.2  | false  |
-- | aaa.aaa       | 0.1  | false  |

-- test: a network that is none is refused
CREATE VIEW wrong AS SELECT cidr_contains('10.0.0.0/40', address) AS c FROM names;
-- error: `10.0.0.0/40` is no network such as 10.0.0.0/8

-- test: an argument of another type is refused
CREATE VIEW wrong AS SELECT entropy(at) AS c FROM names;
-- error: entropy takes text, not TIMESTAMP
