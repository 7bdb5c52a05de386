-- refused: 1:13 «sinc» table `sinc` is not known; did you mean `sink`?
INSERT INTO sinc SELECT k, c FROM per_s;
