-- refused: 1:73 «subject 's'» option `subject` needs a `registry` to look it up in; add registry 'http://…'
CREATE EXTERNAL TABLE x (a BIGINT) STORED AS JSON LOCATION 'x' OPTIONS (subject 's');
