-- What the tests of `sql test` itself are about.
CREATE EXTERNAL TABLE logins (at TIMESTAMP, host TEXT, user_name TEXT, attempts BIGINT, tags TEXT[])
STORED AS JSON LOCATION 'logins'
OPTIONS (event_time 'at', lateness '2s', idle '5s', max_skew '1m', replay_max '10s', partition_key 'host');
CREATE EXTERNAL TABLE out_by_host (host TEXT, per_login BIGINT) STORED AS JSON LOCATION 'out.by_host';
CREATE EXTERNAL TABLE out_rows (host TEXT, tag TEXT) STORED AS JSON LOCATION 'out.rows';
CREATE EXTERNAL TABLE out_by_user (user_name TEXT, attempts BIGINT) STORED AS JSON LOCATION 'out.by_user';
CREATE EXTERNAL TABLE out_by_hour (host TEXT, logins BIGINT) STORED AS JSON LOCATION 'out.by_hour';
