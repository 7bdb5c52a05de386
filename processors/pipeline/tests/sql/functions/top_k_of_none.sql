-- refused: 1:67 «top_k(k, 0)» the k of top_k is from 1 to 100, not 0; write top_k(x, k), e.g. top_k(comm, 5)
CREATE VIEW x AS SELECT k, tumble(t, INTERVAL '1 second') AS win, top_k(k, 0) AS x FROM ev GROUP BY k, win;
