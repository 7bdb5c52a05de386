-- refused: 1:67 «sequence(t, v > 1, n)» a step of sequence is a condition, not BIGINT; write sequence(time, first, second, …), e.g. sequence(observed_at, name = 'memfd_create', name = 'execve')
CREATE VIEW x AS SELECT k, tumble(t, INTERVAL '1 second') AS win, sequence(t, v > 1, n) AS x FROM ev GROUP BY k, win;
