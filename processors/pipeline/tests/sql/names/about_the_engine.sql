-- refused: 1:25 «version()» function `version` is not known; did you mean `session`?
CREATE VIEW q AS SELECT version() AS c FROM ev;
