-- test: messages of a .proto file that imports another
INSERT INTO doors (at, host, way, place, badges, readings, forced, retries) VALUES
  ('12:00:00', 'a', 'OUT', named_struct('room', 'hall', 'level', NULL, 'name', 'top'), [7, 8], MAP {'door': 2.5}, true, 0),
  ('12:00:01', 'b', 'IN', NULL, [], MAP {}, NULL, NULL);
SELECT * FROM entries;
-- | host | way | room | level | floor | badges | reading | forced | retries |
-- |------|-----|------|-------|-------|--------|---------|--------|---------|
-- | a    | OUT | hall | null  | top   | [7, 8] | 2.5     | true   | 0       |
-- | b    | IN  | null | null  | null  | []     | null    | null   | null    |

-- test: what is no message is a dead letter
INSERT INTO doors (_payload) VALUES (decode('ff', 'hex')), (decode('1201611809', 'hex'));
SELECT "offset", reason FROM dead_letters ORDER BY "offset";
-- | offset | reason    |
-- |--------|-----------|
-- | 0      | malformed |

-- test: values of an Avro schema from a file
INSERT INTO entrances (at, host, outcome, account) VALUES
  ('12:00:00', 'a', 'OK', 'me'), ('12:00:01', 'a', 'DENIED', NULL), ('12:00:02', 'b', 'DENIED', NULL);
INSERT INTO entrances (_payload) VALUES (decode('00', 'hex'));
-- close
SELECT host, attempts, named, denied FROM entrance_attempts;
-- | host | attempts | named | denied |
-- |------|----------|-------|--------|
-- | a    | 2        | 1     | 1      |
-- | b    | 1        | 0     | 1      |
SELECT "offset", reason, detail FROM dead_letters;
-- | offset | reason    | detail                                                    |
-- |--------|-----------|-----------------------------------------------------------|
-- | 3      | malformed | not Avro of the record's schema: Parser error: bad varint |

-- test: a value that the schema does not have cannot be written
INSERT INTO entrances (at, host, outcome) VALUES ('12:00:00', 'a', 'MAYBE');
-- error: "outcome" has no symbol "MAYBE"

-- test: Arrow in and out
INSERT INTO visits (at, host, pages) VALUES ('12:00:00', 'a', 3), ('12:00:01', 'a', 4), ('12:00:02', 'b', NULL);
INSERT INTO visits (_payload) VALUES ('no batches');
-- close
SELECT * FROM pages;
-- | host | pages | quality  |
-- |------|-------|----------|
-- | a    | 7     | complete |
-- | b    | null  | complete |
SELECT "offset", reason, detail FROM dead_letters;
-- | offset | reason    | detail                                     |
-- |--------|-----------|--------------------------------------------|
-- | 3      | malformed | the record ends in the middle of a message |

-- test: wrong values are null, and what is no object is a dead letter
-- at: 12:00:02
INSERT INTO notes (_payload) VALUES
  ('{"at": "2026-01-01T12:00:00Z", "host": "a", "size": "large"}'), ('{"at": "2026-01-01T12:00:01Z", "host": ["c"], "size": 3}'),
  ('none'), ('{"at": "now", "size": 4}');
SELECT * FROM note_sizes;
-- | host | size |
-- |------|------|
-- | a    | null |
-- | null | 3    |
SELECT nulled_values FROM counters WHERE stream = 'notes';
-- | nulled_values |
-- |---------------|
-- | 3             |
SELECT "offset", reason, detail FROM dead_letters;
-- | offset | reason    | detail                                                                                       |
-- |--------|-----------|----------------------------------------------------------------------------------------------|
-- | 2      | malformed | not a JSON object of the stream's columns: Encountered unexpected 'o' whilst parsing literal |
SELECT records, rows, rows_without_time, quarantined_rows FROM counters WHERE stream = 'notes';
-- | records | rows | rows_without_time | quarantined_rows |
-- |---------|------|-------------------|------------------|
-- | 4       | 2    | 1                 | 0                |

-- test: a wrong value stops the stream
SELECT * FROM order_sizes;
-- | host | size |
-- |------|------|
-- at: 12:00:02
INSERT INTO orders (_payload) VALUES ('{"host": "a", "size": 1}'), ('{"host": "b", "size": "two"}'), ('{"host": "c", "size": 3}');
-- error: stream `orders` stops at partition 0, offset 1
