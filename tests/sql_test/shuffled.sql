-- Users are on any host, so panes are sent between partitions.
-- allow: shuffle
CREATE VIEW by_user AS
SELECT user_name, tumble(at, INTERVAL '10 seconds') AS win, sum(attempts) AS attempts
FROM logins GROUP BY user_name, win;

-- allow: shuffle
INSERT INTO out_by_user SELECT user_name, attempts FROM by_user;
