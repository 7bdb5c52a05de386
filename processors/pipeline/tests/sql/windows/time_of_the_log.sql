-- refused: 1:62 «tumble(_log_time, INTERVAL '1 second')» the window's time is `_log_time`; it must be `t`, the event time of `ev`
INSERT INTO sink SELECT k, count(*) AS c FROM ev GROUP BY k, tumble(_log_time, INTERVAL '1 second');
