-- warns of unread-view: 1:1 «CREATE VIEW nobody» no INSERT reads view `nobody`, so it is never computed; insert from it, or look at it by sql run --view nobody
-- plans
CREATE VIEW nobody AS SELECT k, tumble(t, INTERVAL '1 second') AS win, count(*) AS c FROM ev GROUP BY k, win;
CREATE VIEW somebody AS SELECT k, tumble(t, INTERVAL '3 seconds') AS win, count(*) AS c FROM ev GROUP BY k, win;
INSERT INTO sink SELECT k, c FROM somebody;
