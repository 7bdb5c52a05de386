-- refused: 1:87 «=» Expected: string or numeric value, found: =; options are written without =: OPTIONS (event_time 'at', lateness '5s')
CREATE EXTERNAL TABLE x (t TIMESTAMP) STORED AS JSON LOCATION 'x' OPTIONS (event_time = 't');
