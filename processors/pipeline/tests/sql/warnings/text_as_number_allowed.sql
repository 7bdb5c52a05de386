-- plans
-- allow: text-as-number
INSERT INTO sink SELECT k, n AS c FROM ev WHERE 5 < k;
