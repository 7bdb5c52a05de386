-- refused: 1:73 «'s3://lake/part.csv'» `lake` is inserted into, and its LOCATION is not one file of this machine; write the path of a file
-- refused: 1:103 «delimiter» option `delimiter` of `lake`, a file that is inserted into; leave it out
CREATE EXTERNAL TABLE lake (k VARCHAR, c BIGINT) STORED AS CSV LOCATION 's3://lake/part.csv' OPTIONS (delimiter ';');
INSERT INTO lake SELECT c, k FROM per_s;
