-- refused: 1:28 «unnest(make_array(1, 2))» `unnest` stands in FROM; write … FROM t CROSS JOIN unnest(make_array(1, 2)) AS u(x), and u.x here
INSERT INTO sink SELECT k, unnest(make_array(1, 2)) AS c FROM ev;
