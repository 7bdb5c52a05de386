-- refused: 1:59 «'tests/sql/nowhere.csv'» LOCATION 'tests/sql/nowhere.csv' of `x` is not there; the path is from the folder where this runs
CREATE EXTERNAL TABLE x (a BIGINT) STORED AS CSV LOCATION 'tests/sql/nowhere.csv';
