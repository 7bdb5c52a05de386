-- refused: 1:75 «random()» `random` gives another value each time, and a window computed again must be the same; for a sample, take a hash of a key: md5(host_id) < '2'
CREATE VIEW w AS SELECT k, tumble(t, INTERVAL '1 second') AS win, avg(v + random()) AS a FROM ev GROUP BY k, win;
