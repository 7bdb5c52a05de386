-- warns of unknown-allow: 3:1 «INSERT INTO sink» a comment allows `exact-distint`, which no warning is called; did you mean `exact-distinct`? there are unread-view, lateness-over-size, window-gaps, exact-distinct, shuffle, window-over-retention, alert-fields, annotation, text-as-number, unknown-allow, untested
-- plans
-- what this is for
-- allow: exact-distint, window-gaps
INSERT INTO sink SELECT k, c FROM per_s;
