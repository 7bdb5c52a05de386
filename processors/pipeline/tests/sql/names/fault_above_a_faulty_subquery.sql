-- refused: 1:25 «a.zz» column `a.zz` is not known; there are host, owner
-- refused: 1:31 «k + 'a'» `+` does not take VARCHAR; cast them to types that go together
-- refused: 1:62 «yy» column `yy` is not known; there are _late, _log_time, _offset, _partition, k, n, t, v
-- refused: 1:115 «a.nn» column `a.nn` is not known; there are host, owner
CREATE VIEW x AS SELECT a.zz, k + 'a' AS b, s.q FROM (SELECT yy AS q FROM ev) s JOIN owners a ON a.host = s.q AND a.nn = 1 CROSS JOIN ev WHERE n > 'x1';
