-- refused: 1:67 «sequence(n, v > 1, v > 2)» the time of sequence must be a TIMESTAMP, not BIGINT; write sequence(time, first, second, …), e.g. sequence(observed_at, name = 'memfd_create', name = 'execve')
CREATE VIEW x AS SELECT k, tumble(t, INTERVAL '1 second') AS win, sequence(n, v > 1, v > 2) AS x FROM ev GROUP BY k, win;
