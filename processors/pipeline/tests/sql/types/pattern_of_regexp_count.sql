-- refused: 1:44 «'((('» the pattern is no regular expression: unclosed group; a letter that means something in patterns is written behind a backslash: \( \[ \.
CREATE VIEW x AS SELECT k, regexp_count(k, '(((') AS y FROM ev;
