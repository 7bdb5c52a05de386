-- refused: 1:1 «INSERT INTO owners» `owners` is no topic that can be inserted into; insert into a CREATE EXTERNAL TABLE … STORED AS PROTOBUF, JSON or ARROW; files are written by `amoskys sql run --output`
INSERT INTO owners SELECT k AS host FROM per_s;
