-- refused: 1:44 «cidr_contains('10.0.0.0/33', k)» `10.0.0.0/33` is no network such as 10.0.0.0/8; write cidr_contains('10.0.0.0/8, fd00::/8', address)
CREATE VIEW x AS SELECT k, t FROM ev WHERE cidr_contains('10.0.0.0/33', k);
