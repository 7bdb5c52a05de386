-- refused: 1:78 «OPTIONS» a stream with event_time states how far out of order it may come; add lateness '2s'
CREATE EXTERNAL TABLE x (t TIMESTAMP, k VARCHAR) STORED AS JSON LOCATION 'x' OPTIONS (event_time 't');
