-- plans
INSERT INTO sink SELECT p.k, c FROM per_s p LEFT JOIN owners ON p.k = owners.host;
