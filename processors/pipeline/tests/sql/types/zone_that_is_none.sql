-- refused: 1:43 «'Mars/Olympus'» `CAST(t AS TIMESTAMP WITH TIME ZONE)` fails for whatever comes: Invalid timezone "Mars/Olympus": failed to parse timezone
CREATE VIEW x AS SELECT k, t AT TIME ZONE 'Mars/Olympus' AS y FROM ev;
