-- test: a worker of the web server starts a shell
INSERT INTO processes (observed_at, kind, pid, comm, exe, exe_fs_type, uid, euid, parent_pid, parent_comm, parent_euid) VALUES
  ('12:00:00.100', 'PROCESS_EVENT_KIND_EXEC', 4711, 'sh', '/usr/bin/dash', 'ext4', 33, 33, 900, 'nginx', 33);
-- advance: 5m
SELECT detection, entity, time, severity, confidence, technique, title, features['execs'] AS execs,
       features['euid'] AS euid
FROM alerts ORDER BY detection, time;
-- | detection           | entity                               | time                    | severity | confidence | technique       | title                                    | execs | euid |
-- |---------------------|--------------------------------------|-------------------------|----------|------------|-----------------|------------------------------------------|-------|------|
-- | server_spawns_shell | nginx started pid 4711 /usr/bin/dash | 2026-01-01 12:00:00.100 | CRITICAL | 0.85       | T1190,T1059.004 | a web or database server started a shell | 1.0   | 33.0 |

-- test: a pool of PHP, whose name has its version
INSERT INTO processes (observed_at, kind, pid, comm, exe, exe_fs_type, uid, euid, parent_pid, parent_comm, parent_euid) VALUES
  ('12:00:01.500', 'PROCESS_EVENT_KIND_EXEC', 52, 'bash', '/usr/bin/bash', 'ext4', 33, 33, 900, 'php-fpm8.2', 33);
-- advance: 5m
SELECT detection, entity, time, severity, confidence FROM alerts ORDER BY detection, time;
-- | detection           | entity                                  | time                    | severity | confidence |
-- |---------------------|-----------------------------------------|-------------------------|----------|------------|
-- | server_spawns_shell | php-fpm8.2 started pid 52 /usr/bin/bash | 2026-01-01 12:00:01.500 | CRITICAL | 0.85       |

-- test: the database starts two shells, seconds apart
INSERT INTO processes (observed_at, kind, pid, comm, exe, exe_fs_type, uid, euid, parent_pid, parent_comm, parent_euid) VALUES
  ('12:00:00.200', 'PROCESS_EVENT_KIND_EXEC', 60, 'sh', '/usr/bin/dash', 'ext4', 33, 33, 900, 'postgres', 33),
  ('12:00:04.200', 'PROCESS_EVENT_KIND_EXEC', 61, 'sh', '/usr/bin/dash', 'ext4', 33, 33, 900, 'postgres', 33);
-- advance: 5m
SELECT detection, entity, time, severity, confidence FROM alerts ORDER BY detection, time;
-- | detection           | entity                                | time                    | severity | confidence |
-- |---------------------|---------------------------------------|-------------------------|----------|------------|
-- | server_spawns_shell | postgres started pid 60 /usr/bin/dash | 2026-01-01 12:00:00.200 | CRITICAL | 0.85       |
-- | server_spawns_shell | postgres started pid 61 /usr/bin/dash | 2026-01-01 12:00:04.200 | CRITICAL | 0.85       |

-- test: the server starts another program of its own
INSERT INTO processes (observed_at, kind, pid, comm, exe, exe_fs_type, uid, euid, parent_pid, parent_comm, parent_euid) VALUES
  ('12:00:00.100', 'PROCESS_EVENT_KIND_EXEC', 4712, 'nginx', '/usr/sbin/nginx', 'ext4', 33, 33, 900, 'nginx', 33),
  ('12:00:00.200', 'PROCESS_EVENT_KIND_EXEC', 4713, 'logrotate', '/usr/sbin/logrotate', 'ext4', 33, 33, 900, 'nginx', 33);
-- advance: 5m
SELECT detection, entity, time FROM alerts ORDER BY detection, time;
-- | detection | entity | time |
-- |-----------|--------|------|

-- test: a login starts a shell
INSERT INTO processes (observed_at, kind, pid, comm, exe, exe_fs_type, uid, euid, parent_pid, parent_comm, parent_euid) VALUES
  ('12:00:00.100', 'PROCESS_EVENT_KIND_EXEC', 4714, 'bash', '/usr/bin/bash', 'ext4', 1000, 1000, 901, 'sshd', 1000);
-- advance: 5m
SELECT detection, entity, time FROM alerts ORDER BY detection, time;
-- | detection | entity | time |
-- |-----------|--------|------|

-- test: a program that is only named like a server, and one like a shell
INSERT INTO processes (observed_at, kind, pid, comm, exe, exe_fs_type, uid, euid, parent_pid, parent_comm, parent_euid) VALUES
  ('12:00:00.100', 'PROCESS_EVENT_KIND_EXEC', 4715, 'sh', '/usr/bin/dash', 'ext4', 33, 33, 900, 'nginx-exporter', 33),
  ('12:00:00.200', 'PROCESS_EVENT_KIND_EXEC', 4716, 'shfmt', '/usr/bin/shfmt', 'ext4', 33, 33, 900, 'nginx', 33);
-- advance: 5m
SELECT detection, entity, time FROM alerts ORDER BY detection, time;
-- | detection | entity | time |
-- |-----------|--------|------|

-- test: the server forks and its shell ends, without an exec
INSERT INTO processes (observed_at, kind, pid, comm, exe, exe_fs_type, uid, euid, parent_pid, parent_comm, parent_euid) VALUES
  ('12:00:00.100', 'PROCESS_EVENT_KIND_FORK', 4717, 'sh', '/usr/bin/dash', 'ext4', 33, 33, 900, 'nginx', 33),
  ('12:00:00.200', 'PROCESS_EVENT_KIND_EXIT', 4717, 'sh', '/usr/bin/dash', 'ext4', 33, 33, 900, 'nginx', 33);
-- advance: 5m
SELECT detection, entity, time FROM alerts ORDER BY detection, time;
-- | detection | entity | time |
-- |-----------|--------|------|
