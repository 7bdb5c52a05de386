-- refused: 1:18 «VALUES» VALUES are no stream; INSERT needs a SELECT that reads a stream
INSERT INTO sink VALUES ('a', 1);
