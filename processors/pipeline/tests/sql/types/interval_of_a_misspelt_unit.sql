-- refused: 1:47 «'30 secnds'» is no interval; did you mean `seconds`? write for example INTERVAL '5 seconds' or INTERVAL '1 hour'
CREATE VIEW w AS SELECT k, tumble(t, INTERVAL '30 secnds') AS win, count(*) AS c FROM ev GROUP BY k, win;
