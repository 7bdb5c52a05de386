-- refused: 1:30 «predict('mean', *)» predict('mean', *): the model wants `b`; add what is missing to the query that it reads
INSERT INTO scores SELECT k, predict('mean', *) AS score FROM (SELECT k, a FROM per_s);
