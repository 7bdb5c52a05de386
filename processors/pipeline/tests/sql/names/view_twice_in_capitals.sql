-- refused: 1:13 «PER_S» `per_s` is defined already, at definitions.sql:16:1; give one of them another name
CREATE VIEW PER_S AS SELECT k FROM ev;
