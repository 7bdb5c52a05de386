-- refused: 1:25 «digest(k, 'foo')» `digest(k, 'foo')` fails for whatever comes: There is no built-in digest algorithm named 'foo', currently supported algorithms are: md5, sha224, sha256, sha384, sha512, blake2s, blake2b, blake3
CREATE VIEW q AS SELECT digest(k, 'foo') AS c FROM ev;
