-- refused: 1:35 «FOR UPDATE» rows of a stream are not locked; leave FOR UPDATE out
CREATE VIEW q AS SELECT k FROM ev FOR UPDATE;
