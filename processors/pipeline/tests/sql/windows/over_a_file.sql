-- refused: 1:77 «tumble(TIMESTAMP '2020-01-01', INTERVAL '1 second')» the window is over a file, not a stream; INSERT needs a stream to follow
INSERT INTO sink SELECT host AS k, count(*) AS c FROM owners GROUP BY host, tumble(TIMESTAMP '2020-01-01', INTERVAL '1 second');
