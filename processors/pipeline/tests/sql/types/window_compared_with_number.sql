-- refused: 1:44 «win > 3» `>` does not take STRUCT(start TIMESTAMP, end TIMESTAMP) and BIGINT; cast them to types that go together
CREATE VIEW w AS SELECT k FROM per_s WHERE win > 3;
