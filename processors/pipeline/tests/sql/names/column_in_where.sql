-- refused: 1:49 «comm» column `comm` is not known; there are _late, _log_time, _offset, _partition, k, n, t, v
INSERT INTO sink SELECT k, n AS c FROM ev WHERE comm = 'sh';
