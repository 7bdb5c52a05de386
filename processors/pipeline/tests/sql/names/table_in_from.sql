-- refused: 1:35 «othres» table `othres` is not known; did you mean `others`?
INSERT INTO sink SELECT k, c FROM othres;
