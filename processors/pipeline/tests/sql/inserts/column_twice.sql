-- refused: 1:95 «c» there are two columns `c`; give one of them another name: … AS c_2
INSERT INTO alerts SELECT 'x' AS detection, k AS host_id, win.end AS time, 0.5 AS confidence, c, c FROM per_s;
