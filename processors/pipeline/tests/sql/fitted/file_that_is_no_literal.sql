-- refused: 1:33 «normalise(k, 'calls', c)» normalise takes a file and a name, as literals; write normalise('fitted.json', 'calls', calls)
INSERT INTO sink SELECT k, CAST(normalise(k, 'calls', c) AS BIGINT) AS c FROM per_s;
