-- refused: 1:28 «range(0, 1000000000)» `range` gives at most 65536, not 1000000000
CREATE VIEW x AS SELECT k, range(0, 1000000000) AS y FROM ev;
