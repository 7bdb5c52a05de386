-- refused: 1:18 «SELECT» the query reads no stream; INSERT needs a stream to follow: … FROM a topic's table
INSERT INTO sink SELECT 'a' AS k, 1 AS c;
