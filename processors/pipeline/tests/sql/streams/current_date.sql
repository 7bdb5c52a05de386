-- refused: 1:28 «current_date()» `current_date` gives another value each time, and a window computed again must be the same; take the event time, or _log_time, which the log gave the record
CREATE VIEW w AS SELECT k, current_date() AS day FROM ev;
