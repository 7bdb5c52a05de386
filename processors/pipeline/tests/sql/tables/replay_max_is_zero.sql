-- refused: 1:118 «replay_max '0s'» replay_max '0s' is no time at all; write replay_max '1ms' where that is what is meant
CREATE EXTERNAL TABLE x (t TIMESTAMP, k VARCHAR) STORED AS JSON LOCATION 'x' OPTIONS (event_time 't', lateness '1s', replay_max '0s');
