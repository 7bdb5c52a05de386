-- refused: 1:76 «FILTER (WHERE» behind FILTER (WHERE stands a condition, and `ev.k` is VARCHAR; compare it: … = …, … > 0, … IS NOT NULL
CREATE VIEW q AS SELECT k, tumble(t, INTERVAL '1 second') AS win, count(*) FILTER (WHERE k) AS c FROM ev GROUP BY k, win;
