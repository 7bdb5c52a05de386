-- refused: 1:25 «lowr(k)» function `lowr` is not known; did you mean `lower`?
CREATE VIEW w AS SELECT lowr(k) AS l FROM ev;
