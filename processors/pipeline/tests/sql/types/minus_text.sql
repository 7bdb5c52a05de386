-- refused: 1:26 «k» `-` does not take VARCHAR
CREATE VIEW w AS SELECT -k AS x FROM ev;
