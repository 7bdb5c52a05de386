-- refused: 1:56 «'sh (-i'» the pattern is no regular expression: unclosed group; a letter that means something in patterns is written behind a backslash: \( \[ \.
CREATE VIEW q AS SELECT k FROM ev WHERE regexp_like(k, 'sh (-i');
