-- refused: 1:25 «k - interval '1 second'» `-` does not take VARCHAR and INTERVAL; cast them to types that go together
CREATE VIEW w AS SELECT k - interval '1 second' AS x FROM ev;
