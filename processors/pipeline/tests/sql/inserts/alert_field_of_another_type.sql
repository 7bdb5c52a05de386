-- refused: 1:45 «AS severity» does not fit `alerts`: column "severity" is Struct("start": non-null Timestamp(ns), "end": non-null Timestamp(ns)), field amoskys.v1.Alert.severity is string, which cannot hold it without loss (CAST it in the SQL)
INSERT INTO alerts SELECT k AS host_id, win AS severity FROM per_s;
