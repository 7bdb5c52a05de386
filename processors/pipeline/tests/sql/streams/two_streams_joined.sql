-- refused: 1:46 «JOIN» rows of two streams (`ev` and `other`) meet without a window; window each in a view of its own
INSERT INTO sink SELECT ev.k, n AS c FROM ev JOIN other ON ev.k = other.k;
