-- plans
INSERT INTO sink SELECT e.k, u.x AS c FROM ev e CROSS JOIN unnest(make_array(1, 2)) AS u(x);
