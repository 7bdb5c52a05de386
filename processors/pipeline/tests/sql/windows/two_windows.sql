-- refused: 1:50 «GROUP BY» GROUP BY names two windows; a view has one; make a view of each
INSERT INTO sink SELECT k, count(*) AS c FROM ev GROUP BY k, tumble(t, INTERVAL '1 second'), tumble(t, INTERVAL '2 seconds');
