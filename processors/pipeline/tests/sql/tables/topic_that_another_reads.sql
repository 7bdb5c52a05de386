-- refused: 2:73 «'same'» `two` reads topic 'same', which `one` reads already; read it by `one`, whose columns may be those of both
CREATE EXTERNAL TABLE one (k VARCHAR) STORED AS JSON LOCATION 'same';
CREATE EXTERNAL TABLE two (k VARCHAR, n BIGINT) STORED AS JSON LOCATION 'same';
INSERT INTO sink SELECT k FROM one; INSERT INTO sink SELECT k, n AS c FROM two;
