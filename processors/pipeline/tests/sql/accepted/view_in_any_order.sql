-- plans
INSERT INTO sink SELECT k, c FROM later;
CREATE VIEW later AS SELECT * FROM per_s WHERE c > 1;
