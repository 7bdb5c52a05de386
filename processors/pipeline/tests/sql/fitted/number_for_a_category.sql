-- refused: 1:47 «one_hot('../../docs/examples/fitted.json', 'name', c)» one_hot takes text, not BIGINT; write one_hot('fitted.json', 'comm', comm)
INSERT INTO sink SELECT k, c FROM per_s WHERE one_hot('../../docs/examples/fitted.json', 'name', c)[1] > 0;
