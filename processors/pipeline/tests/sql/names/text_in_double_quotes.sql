-- refused: 1:53 «"10.0.0.1"» column `10.0.0.1` is not known; text stands in single quotes: '10.0.0.1'; there are _late, _log_time, _offset, _partition, k, n, t, v
INSERT INTO sink SELECT k, n AS c FROM ev WHERE k = "10.0.0.1";
