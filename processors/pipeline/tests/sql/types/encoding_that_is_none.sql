-- refused: 1:25 «decode(k, 'foo')» `decode(CAST(k AS BYTEA), 'foo')` fails for whatever comes: There is no built-in encoding named 'foo', currently supported encodings are: base64, base64pad, hex
CREATE VIEW q AS SELECT decode(k, 'foo') AS c FROM ev;
