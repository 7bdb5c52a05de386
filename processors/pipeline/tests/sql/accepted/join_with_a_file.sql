-- plans
INSERT INTO sink SELECT ev.k, n AS c FROM ev JOIN owners ON ev.k = owners.host WHERE owner <> 'alice';
