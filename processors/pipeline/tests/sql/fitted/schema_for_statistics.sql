-- refused: 1:43 «'../../docs/examples/login.avsc'» ../../docs/examples/login.avsc holds no fitted statistics: unknown field `fields`, expected `numbers` or `categories`; amoskys sql fit writes such a file
INSERT INTO sink SELECT k, CAST(normalise('../../docs/examples/login.avsc', 'calls', c) AS BIGINT) AS c FROM per_s;
