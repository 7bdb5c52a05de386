-- warns of annotation: 3:1 «INSERT INTO alerts» `banana` is no ATT&CK technique; write for example -- technique: T1059.004, T1105
-- warns of annotation: 3:1 «INSERT INTO alerts» `titel:` is a comment, and says nothing of its alerts; did you mean `title:`?
-- plans
-- titel: a title
-- technique: banana
INSERT INTO alerts SELECT k AS host_id, k AS entity, win.end AS time, 0.5 AS confidence FROM per_s;
