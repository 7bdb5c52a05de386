-- refused: 1:25 «'a FROM ev;» Unterminated string literal
CREATE VIEW w AS SELECT 'a FROM ev;
