-- refused: 1:25 «no_such_function_at_all(k)» function `no_such_function_at_all` is not known
CREATE VIEW w AS SELECT no_such_function_at_all(k) FROM ev;
