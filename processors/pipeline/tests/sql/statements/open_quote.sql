-- refused: 1:25 «'a FROM ev;» Unterminated string literal; a quote is missing, here or before: a quote within text is written twice, 'it''s'
CREATE VIEW w AS SELECT 'a FROM ev;
