-- refused: 1:87 «event_time 'tt'» event_time 'tt' is no column of `x`; did you mean `t`?
CREATE EXTERNAL TABLE x (t TIMESTAMP, k VARCHAR) STORED AS JSON LOCATION 'x' OPTIONS (event_time 'tt', lateness '1s');
