-- plans
INSERT INTO sink SELECT e.k, u.c FROM ev e, LATERAL (SELECT 1 AS c) u;
