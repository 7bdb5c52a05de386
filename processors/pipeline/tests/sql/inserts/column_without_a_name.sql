-- refused: 1:1 «INSERT INTO sink» `sink` takes columns by name, and one has none; give it one of k, c: … AS k
INSERT INTO sink SELECT k, 5 FROM per_s;
