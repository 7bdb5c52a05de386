-- Aggregates that keep a summary of each group.
CREATE EXTERNAL TABLE acts (at TIMESTAMP, host TEXT, name TEXT, took BIGINT) STORED AS JSON LOCATION 'acts'
OPTIONS (event_time 'at', lateness '20s', partition_key 'host');

CREATE VIEW acts_10s AS
SELECT host, hop(at, INTERVAL '5 seconds', INTERVAL '10 seconds') AS win,
       sequence(at, name = 'drop', name = 'chmod', name = 'exec') AS steps,
       top_k(name, 2) AS frequent, histogram(took, 10, 100) AS durations,
       last_value(name ORDER BY at) AS last_name, count(*) AS acts
FROM acts GROUP BY host, win;

CREATE VIEW usual AS
SELECT host, tumble(win.end, INTERVAL '20 seconds') AS win, ewma(acts, win.end, INTERVAL '5 seconds') AS acts
FROM acts_10s GROUP BY host, tumble(win.end, INTERVAL '20 seconds');
