-- refused: 1:38 «'1 secund'» is no interval; did you mean `second`? write for example INTERVAL '5 seconds' or INTERVAL '1 hour'
CREATE VIEW w AS SELECT t + INTERVAL '1 secund' AS x FROM ev;
