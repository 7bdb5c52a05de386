-- refused: 1:25 «nothing_like_it» column `nothing_like_it` is not known; there are _late, _log_time, _offset, _partition, k, n, t, v
CREATE VIEW w AS SELECT nothing_like_it FROM ev;
