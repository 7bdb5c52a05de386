-- refused: 1:54 «'sh (-i'» `k SIMILAR TO 'sh (-i'` fails for whatever comes: the pattern is no regular expression: unclosed group; a letter that means something in patterns is written behind a backslash: \( \[ \.
CREATE VIEW q AS SELECT k FROM ev WHERE k SIMILAR TO 'sh (-i';
