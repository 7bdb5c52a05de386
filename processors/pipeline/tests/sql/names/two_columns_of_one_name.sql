-- refused: 1:27 «AS x» there are two columns `x`; give one of them another name: … AS x_2
CREATE VIEW w AS SELECT k AS x, v AS x FROM ev;
