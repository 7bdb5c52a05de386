-- refused: 1:25 «sqrt()» `sqrt` takes arguments
CREATE VIEW w AS SELECT sqrt() AS x FROM ev;
