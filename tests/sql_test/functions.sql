-- Functions of rows.
CREATE EXTERNAL TABLE names (at TIMESTAMP, name TEXT, address TEXT) STORED AS JSON LOCATION 'names'
OPTIONS (event_time 'at', lateness '1s', partition_key 'name');
CREATE EXTERNAL TABLE out_names (name TEXT, domain TEXT, scope TEXT, inside BOOLEAN, bits DOUBLE, bucket BIGINT)
STORED AS JSON LOCATION 'out.names';

INSERT INTO out_names
SELECT name, registered_domain(name) AS domain, ip_scope(address) AS scope,
       cidr_contains('10.0.0.0/8, fd00::/8', address) AS inside, round(entropy(name), 2) AS bits,
       abs(hash64(name)) % 4 AS bucket
FROM names WHERE registered_domain(name) IS NULL OR entropy(name) > 1;

CREATE VIEW named AS
SELECT registered_domain(name) AS domain, tumble(at, INTERVAL '10 seconds') AS win, count(*) AS seen
FROM names GROUP BY domain, win;

-- allow: shuffle
INSERT INTO out_names
SELECT domain AS name, rate(seen, win) AS bits, robust_zscore(seen, 1, 0.5) > 3.5 AS inside FROM named;
