-- Streams of every format, and what becomes of records that do not decode.
CREATE EXTERNAL TABLE doors STORED AS PROTOBUF LOCATION 'doors'
OPTIONS (message 'acme.Door', schema 'docs/examples/door.proto', event_time 'at', lateness '1s');
CREATE EXTERNAL TABLE entrances STORED AS AVRO LOCATION 'entrances'
OPTIONS (schema 'docs/examples/login.avsc', event_time 'at', lateness '1s');
CREATE EXTERNAL TABLE visits (at TIMESTAMP, host TEXT, pages INT) STORED AS ARROW LOCATION 'visits'
OPTIONS (event_time 'at', lateness '1s', partition_key 'host');
CREATE EXTERNAL TABLE notes (at TIMESTAMP, host TEXT, size BIGINT) STORED AS JSON LOCATION 'notes'
OPTIONS (event_time 'at', lateness '1s', on_error 'null');
CREATE EXTERNAL TABLE orders (at TIMESTAMP, host TEXT, size BIGINT) STORED AS JSON LOCATION 'orders'
OPTIONS (event_time 'at', lateness '1s', on_error 'stop');
CREATE EXTERNAL TABLE pages (host TEXT, pages BIGINT, quality TEXT) STORED AS ARROW LOCATION 'out.pages'
OPTIONS (partition_key 'host');

CREATE VIEW entries AS SELECT host, way, place.room AS room, place.level AS level, place.name AS floor, badges, readings['door'] AS reading, forced, retries FROM doors;
CREATE VIEW entrance_attempts AS
SELECT host, tumble(at, INTERVAL '10 seconds') AS win, count(*) AS attempts, count(account) AS named,
       count(*) FILTER (WHERE outcome = 'DENIED') AS denied
FROM entrances GROUP BY host, win;
CREATE VIEW note_sizes AS SELECT host, size FROM notes;
CREATE VIEW order_sizes AS SELECT host, size FROM orders;
INSERT INTO pages SELECT host, sum(pages) AS pages FROM visits GROUP BY host, tumble(at, INTERVAL '10 seconds');
