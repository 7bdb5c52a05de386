-- refused: 1:32 «'tests/sql/owners.csv'» table `tests/sql/owners.csv` is not known
CREATE VIEW w AS SELECT * FROM 'tests/sql/owners.csv';
