-- refused: 1:47 «one_hot('../../docs/examples/fitted.json', 'name')» one_hot takes 3 arguments; write one_hot('fitted.json', 'comm', comm)
INSERT INTO sink SELECT k, c FROM per_s WHERE one_hot('../../docs/examples/fitted.json', 'name')[1] > 0;
