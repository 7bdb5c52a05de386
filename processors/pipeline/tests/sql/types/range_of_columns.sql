-- refused: 1:28 «range(0, n)» how much `range` gives would be up to the telemetry; write numbers: range(0, 10)
CREATE VIEW x AS SELECT k, range(0, n) AS y FROM ev;
