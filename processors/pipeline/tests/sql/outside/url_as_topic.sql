-- refused: 1:60 «'https://example.org/in'» LOCATION 'https://example.org/in' is no name of a topic, which is all that a stream reads; topics have at most 249 letters, digits, dots, underscores and hyphens
CREATE EXTERNAL TABLE x (a BIGINT) STORED AS JSON LOCATION 'https://example.org/in';
