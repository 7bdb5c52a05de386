-- refused: 1:25 «k + n» `+` does not take VARCHAR and BIGINT; cast one of them: CAST(k AS BIGINT)
CREATE VIEW w AS SELECT k + n AS x FROM ev WHERE k > 3;
