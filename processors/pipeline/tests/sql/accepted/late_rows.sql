-- plans
INSERT INTO sink SELECT k, n AS c FROM ev WHERE _late;
