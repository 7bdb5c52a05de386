-- refused: 1:28 «repeat(k, 999999999)» `repeat` gives at most 65536, not 999999999
CREATE VIEW x AS SELECT k, repeat(k, 999999999) AS y FROM ev;
