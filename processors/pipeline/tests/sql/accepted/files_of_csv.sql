-- plans
INSERT INTO sink SELECT k, c FROM per_s WHERE NOT EXISTS (SELECT 1 FROM owners WHERE host = k);
