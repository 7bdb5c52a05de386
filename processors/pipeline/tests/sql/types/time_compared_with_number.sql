-- refused: 1:41 «t > true» `>` does not take TIMESTAMP and BOOLEAN; cast them to types that go together
CREATE VIEW w AS SELECT k FROM ev WHERE t > true;
