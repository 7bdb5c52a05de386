-- refused: 1:75 «v» Aggregate function calls cannot be nested: 'sum(ev.v)' is nested inside 'max(sum(ev.v))'
CREATE VIEW w AS SELECT k, tumble(t, INTERVAL '1 second') AS win, max(sum(v)) AS x FROM ev GROUP BY k, win;
