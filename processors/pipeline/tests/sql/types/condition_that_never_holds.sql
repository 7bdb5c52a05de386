-- refused: 1:43 «WHERE» the condition holds for no row, whatever comes; with NULL write IS NULL; see whether its parts can hold at once
INSERT INTO sink SELECT k, n AS c FROM ev WHERE k = NULL;
