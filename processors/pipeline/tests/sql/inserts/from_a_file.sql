-- refused: 1:43 «FROM» the query reads no stream; INSERT needs a stream to follow: … FROM a topic's table
INSERT INTO sink SELECT host AS k, 1 AS c FROM owners;
