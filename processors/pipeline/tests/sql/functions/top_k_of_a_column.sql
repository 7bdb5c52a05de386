-- refused: 1:67 «top_k(k, n)» the k of top_k must be a literal from 1 to 100; write top_k(x, k), e.g. top_k(comm, 5)
CREATE VIEW x AS SELECT k, tumble(t, INTERVAL '1 second') AS win, top_k(k, n) AS x FROM ev GROUP BY k, win;
