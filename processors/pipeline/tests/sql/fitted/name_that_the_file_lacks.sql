-- refused: 1:77 «'cals'» ../../docs/schemas/fitted.json has no numbers of `cals`; there are calls, peers
INSERT INTO sink SELECT k, CAST(normalise('../../docs/schemas/fitted.json', 'cals', c) AS BIGINT) AS c FROM per_s;
