-- plans
CREATE VIEW x AS SELECT k, repeat(k, least(n, 10)) AS y, lpad(k, 20) AS z, range(0, 10) AS r FROM ev;
