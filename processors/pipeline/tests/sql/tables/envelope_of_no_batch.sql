-- refused: 1:25 «STORED AS ENVELOPE» amoskys.v1.Alert is not a batch: it has no repeated message field
CREATE EXTERNAL TABLE x STORED AS ENVELOPE LOCATION 'mine' OPTIONS (message 'amoskys.v1.Alert');
