-- refused: 1:25 «'a AS k, n AS c FROM ev;» Unterminated string literal; a quote is missing, here or before: a quote within text is written twice, 'it''s'
INSERT INTO sink SELECT 'a AS k, n AS c FROM ev;
