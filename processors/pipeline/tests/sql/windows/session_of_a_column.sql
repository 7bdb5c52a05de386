-- refused: 1:73 «n * INTERVAL '1 second'» `*` does not take BIGINT and INTERVAL; cast them to types that go together
INSERT INTO sink SELECT k, count(*) AS c FROM ev GROUP BY k, session(t, n * INTERVAL '1 second', INTERVAL '1 day');
