-- refused: 1:25 «zz» column `zz` is not known; there are _late, _log_time, _offset, _partition, k, n, t, v
-- refused: 1:67 «o.ownr» column `o.ownr` is not known; did you mean `owner`?
CREATE VIEW y AS SELECT zz FROM ev; CREATE VIEW x AS SELECT y.zz, o.ownr FROM y JOIN owners o ON y.zz = o.host;
