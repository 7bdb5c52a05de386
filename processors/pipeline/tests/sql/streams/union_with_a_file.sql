-- refused: 1:43 «UNION» UNION ALL of a stream and a file: a file's rows have no place among the stream's
INSERT INTO sink SELECT k, n AS c FROM ev UNION ALL SELECT host, 1 FROM owners;
