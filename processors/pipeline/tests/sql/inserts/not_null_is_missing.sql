-- refused: 1:1 «INSERT INTO sink» `k` is NOT NULL in `sink` and the SELECT has no such column; add … AS k
INSERT INTO sink SELECT c FROM per_s;
