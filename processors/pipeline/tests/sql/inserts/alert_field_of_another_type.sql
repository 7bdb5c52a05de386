-- refused: 1:45 «AS severity» `severity` is STRUCT(start TIMESTAMP, end TIMESTAMP), and amoskys.v1.Alert.severity is string, which cannot hold every one; CAST(severity AS …) what it is to become
INSERT INTO alerts SELECT k AS host_id, win AS severity FROM per_s;
