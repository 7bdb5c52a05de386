-- refused: 1:102 «'t'» event_time 't' must be a TIMESTAMP, not Timestamp(ms); declare it TIMESTAMP, in nanoseconds
CREATE EXTERNAL TABLE x (t TIMESTAMP(3), k VARCHAR) STORED AS ARROW LOCATION 'x' OPTIONS (event_time 't', lateness '1s');
