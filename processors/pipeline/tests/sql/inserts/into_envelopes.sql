-- refused: 1:1 «INSERT INTO processes» `processes` is STORED AS ENVELOPE, which only agents write; insert into a table STORED AS PROTOBUF or JSON
INSERT INTO processes SELECT k AS comm FROM per_s;
