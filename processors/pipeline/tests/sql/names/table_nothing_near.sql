-- refused: 1:32 «nothing_like_it_at_all» table `nothing_like_it_at_all` is not known
CREATE VIEW w AS SELECT * FROM nothing_like_it_at_all;
