-- refused: 1:1 «INSERT INTO owners» `owners` is no topic that can be inserted into; insert into a CREATE EXTERNAL TABLE … STORED AS PROTOBUF or JSON
INSERT INTO owners SELECT k AS host FROM per_s;
