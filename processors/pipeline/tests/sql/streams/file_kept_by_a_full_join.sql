-- refused: 1:46 «FULL JOIN» Full JOIN keeps rows of the file that no row of the stream meets, and a stream has no end; keep those of the stream
INSERT INTO sink SELECT ev.k, n AS c FROM ev FULL JOIN owners ON ev.k = owners.host;
