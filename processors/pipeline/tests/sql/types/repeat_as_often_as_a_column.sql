-- refused: 1:28 «repeat(k, n)» how much `repeat` gives would be up to the telemetry; write a number, or least(…, 100)
CREATE VIEW x AS SELECT k, repeat(k, n) AS y FROM ev;
