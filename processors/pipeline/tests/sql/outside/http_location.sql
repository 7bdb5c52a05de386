-- refused: 1:59 «'https://example.org/list.csv'» LOCATION 'https://example.org/list.csv' is not on this machine, and nothing is fetched from elsewhere; copy the file here and name its path
CREATE EXTERNAL TABLE x (a BIGINT) STORED AS CSV LOCATION 'https://example.org/list.csv';
