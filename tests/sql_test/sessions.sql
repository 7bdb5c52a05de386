CREATE VIEW stays AS
SELECT host, session(at, INTERVAL '30 seconds', INTERVAL '10 minutes') AS stay, count(*) AS logins, sum(attempts) AS attempts
FROM logins GROUP BY host, stay;

-- The same of users, who log in on many hosts.
CREATE VIEW stays_of_users AS
SELECT user_name, session(at, INTERVAL '30 seconds', INTERVAL '10 minutes') AS stay, count(*) AS logins
FROM logins GROUP BY user_name, stay;

CREATE VIEW stays_ended AS
SELECT host, tumble(stay.end, INTERVAL '5 minutes') AS win, count(*) AS stays, sum(logins) AS logins
FROM stays GROUP BY host, win;

CREATE VIEW minutes_of_stays AS
SELECT host, session(win.end, INTERVAL '2 minutes', INTERVAL '1 hour') AS spell, count(*) AS minutes
FROM (SELECT host, tumble(at, INTERVAL '1 minute') AS win, count(*) AS logins FROM logins GROUP BY host, win)
WHERE logins > 1
GROUP BY host, spell;

-- Computed for all sessions that are over at once, and for those that begin and end together.
CREATE EXTERNAL TABLE out_stays (host TEXT, began TIMESTAMP, twice BIGINT) STORED AS JSON LOCATION 'out.stays';
CREATE EXTERNAL TABLE out_stays_in_order (host TEXT, began TIMESTAMP, twice BIGINT) STORED AS JSON LOCATION 'out.stays_in_order';
INSERT INTO out_stays SELECT host, stay.start AS began, logins * 2 AS twice FROM stays WHERE logins > 1;
INSERT INTO out_stays_in_order
SELECT host, stay.start AS began, logins * 2 AS twice FROM stays WHERE logins > 1 ORDER BY host LIMIT 10;

-- Its rows come far out of order.
CREATE EXTERNAL TABLE slow_logins (at TIMESTAMP, host TEXT) STORED AS JSON LOCATION 'slow-logins'
OPTIONS (event_time 'at', lateness '20s', replay_max '3h', partition_key 'host');
