-- refused: 1:67 «sequence(t, v > 1)» sequence takes a time and 2 to 8 conditions; write sequence(time, first, second, …), e.g. sequence(observed_at, name = 'memfd_create', name = 'execve')
CREATE VIEW x AS SELECT k, tumble(t, INTERVAL '1 second') AS win, sequence(t, v > 1) AS x FROM ev GROUP BY k, win;
