-- refused: 1:25 «EXTRACT(FOO FROM t)» `date_part('FOO', t)` fails for whatever comes: Date part 'FOO' not supported
CREATE VIEW q AS SELECT EXTRACT(FOO FROM t) AS c FROM ev;
