-- plans
INSERT INTO sink SELECT k, CAST(normalise('../../docs/examples/fitted.json', 'calls', c) AS BIGINT) AS c FROM per_s WHERE one_hot('../../docs/examples/fitted.json', 'name', k)[1] > 0;
