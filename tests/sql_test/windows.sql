CREATE VIEW by_host AS
SELECT host, tumble(at, INTERVAL '10 seconds') AS win, count(*) AS logins, sum(attempts) AS attempts
FROM logins GROUP BY host, win;

-- Null where nobody tried, which is what one of the tests is about.
INSERT INTO out_by_host SELECT host, 100 / attempts AS per_login FROM by_host;

INSERT INTO out_rows SELECT host, tags[1] AS tag FROM logins WHERE user_name = 'root';

-- Windows that are longer than what may be read again, so their panes are kept.
INSERT INTO out_by_hour
SELECT host, count(*) AS logins FROM logins GROUP BY host, tumble(at, INTERVAL '1 hour');
