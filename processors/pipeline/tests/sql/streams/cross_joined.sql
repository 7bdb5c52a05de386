-- refused: 1:47 «other» rows of two streams (`ev` and `other`) meet without a window; window each in a view of its own
INSERT INTO sink SELECT ev.k, n AS c FROM ev, other;
