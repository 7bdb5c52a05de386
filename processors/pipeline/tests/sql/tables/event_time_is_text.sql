-- refused: 1:98 «'k'» event_time 'k' must be a TIMESTAMP, not VARCHAR; declare it TIMESTAMP, in nanoseconds
CREATE EXTERNAL TABLE x (t TIMESTAMP, k VARCHAR) STORED AS JSON LOCATION 'x' OPTIONS (event_time 'k', lateness '1s');
