-- plans
INSERT INTO sink SELECT k, c FROM per_s WHERE k IN (SELECT host FROM owners);
