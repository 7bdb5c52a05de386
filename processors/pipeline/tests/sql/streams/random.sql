-- refused: 1:49 «random()» `random` gives another value each time, and a window computed again must be the same; for a sample, take a hash of a key: md5(host_id) < '2'
INSERT INTO sink SELECT k, n AS c FROM ev WHERE random() < 0.1;
