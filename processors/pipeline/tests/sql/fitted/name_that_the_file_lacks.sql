-- refused: 1:78 «'cals'» ../../docs/examples/fitted.json has no numbers of `cals`; there are calls, peers
INSERT INTO sink SELECT k, CAST(normalise('../../docs/examples/fitted.json', 'cals', c) AS BIGINT) AS c FROM per_s;
