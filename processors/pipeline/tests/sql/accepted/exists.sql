-- plans
INSERT INTO sink SELECT e.k, n AS c FROM ev e WHERE EXISTS (SELECT 1 FROM owners o WHERE o.host = e.k);
