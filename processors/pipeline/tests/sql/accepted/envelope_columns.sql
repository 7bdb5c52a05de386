-- plans
INSERT INTO sink SELECT host_id AS k, pid AS c FROM processes WHERE comm = 'sh' AND agent_id <> '';
