-- refused: 1:67 «OPTIONS» option `event_time` is given twice
CREATE EXTERNAL TABLE x (t TIMESTAMP) STORED AS JSON LOCATION 'x' OPTIONS (event_time 't', event_time 't', lateness '1s');
