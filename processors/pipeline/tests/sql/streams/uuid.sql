-- refused: 1:28 «uuid()» `uuid` gives another value each time, and a window computed again must be the same; for a sample, take a hash of a key: md5(host_id) < '2'
CREATE VIEW w AS SELECT k, uuid() AS id FROM ev;
