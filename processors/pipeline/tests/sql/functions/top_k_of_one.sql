-- refused: 1:67 «top_k(k)» top_k takes 2 arguments, not 1; write top_k(x, k), e.g. top_k(comm, 5)
CREATE VIEW x AS SELECT k, tumble(t, INTERVAL '1 second') AS win, top_k(k) AS x FROM ev GROUP BY k, win;
