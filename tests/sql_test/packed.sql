-- Rows of a window that share records, in a topic that has another key than the stream they come from.
CREATE EXTERNAL TABLE calls (at TIMESTAMP, host TEXT, account TEXT, calls BIGINT) STORED AS JSON LOCATION 'calls'
OPTIONS (event_time 'at', lateness '2s', idle '5s', partition_key 'host');
CREATE EXTERNAL TABLE per_account (till TIMESTAMP, account TEXT, calls BIGINT) STORED AS ARROW LOCATION 'acme.per_account'
OPTIONS (event_time 'till', lateness '1s', idle '5s', partition_key 'account', record_rows_max '2');
CREATE VIEW calls_here AS
SELECT host, account, tumble(at, INTERVAL '10 seconds') AS win, sum(calls) AS calls FROM calls GROUP BY host, account, win;
INSERT INTO per_account SELECT win.end AS till, account, calls FROM calls_here;
CREATE VIEW calls_anywhere AS
SELECT account, tumble(till, INTERVAL '30 seconds') AS win, count(*) AS rows, sum(calls) AS calls FROM per_account GROUP BY account, win;
CREATE EXTERNAL TABLE out_anywhere (account TEXT, rows BIGINT, calls BIGINT) STORED AS JSON LOCATION 'out.anywhere';
INSERT INTO out_anywhere SELECT account, rows, calls FROM calls_anywhere;
