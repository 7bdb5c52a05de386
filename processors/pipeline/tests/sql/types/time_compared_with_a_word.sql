-- refused: 1:53 «'yesterday'» 'yesterday' is no time; write for example TIMESTAMP '2026-01-02 10:00:00'
INSERT INTO sink SELECT k, n AS c FROM ev WHERE t > 'yesterday';
