-- refused: 1:13 «per_s» `per_s` is defined already, at definitions.sql:16:1; give one of them another name
CREATE VIEW per_s AS SELECT k FROM ev;
