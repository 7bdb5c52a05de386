-- refused: 1:43 «'../../docs/schemas/login.avsc'» ../../docs/schemas/login.avsc holds no fitted statistics: unknown field `fields`, expected `numbers` or `categories`; amoskys sql fit writes such a file
INSERT INTO sink SELECT k, CAST(normalise('../../docs/schemas/login.avsc', 'calls', c) AS BIGINT) AS c FROM per_s;
