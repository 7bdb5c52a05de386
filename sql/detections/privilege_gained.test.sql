-- test: a user's shell has a child that is root
INSERT INTO processes (observed_at, kind, pid, comm, exe, exe_fs_type, uid, euid, parent_pid, parent_comm, parent_euid) VALUES
  ('12:00:00.100', 'PROCESS_EVENT_KIND_EXEC', 101, 'sh', '/usr/bin/dash', 'ext4', 0, 0, 70, 'sh', 1000);
-- advance: 5m
SELECT detection, entity, time, severity, confidence, technique, title, features['execs'] AS execs,
       features['uid'] AS uid, features['parent_euid'] AS parent_euid
FROM alerts ORDER BY detection, time;
-- | detection        | entity                | time                    | severity | confidence | technique | title                                               | execs | uid | parent_euid |
-- |------------------|-----------------------|-------------------------|----------|------------|-----------|-----------------------------------------------------|-------|-----|-------------|
-- | privilege_gained | pid 101 /usr/bin/dash | 2026-01-01 12:00:00.100 | HIGH     | 0.8        | T1068     | a process became root without a set-user-id program | 1.0   | 0.0 | 1000.0      |

-- test: root in effect only
INSERT INTO processes (observed_at, kind, pid, comm, exe, exe_fs_type, uid, euid, parent_pid, parent_comm, parent_euid) VALUES
  ('12:00:00.700', 'PROCESS_EVENT_KIND_EXEC', 102, 'id', '/usr/bin/id', 'ext4', 1000, 0, 70, 'sh', 1000);
-- advance: 5m
SELECT detection, entity, time, severity, confidence, features['execs'] AS execs, features['uid'] AS uid,
       features['parent_euid'] AS parent_euid
FROM alerts ORDER BY detection, time;
-- | detection        | entity              | time                    | severity | confidence | execs | uid    | parent_euid |
-- |------------------|---------------------|-------------------------|----------|------------|-------|--------|-------------|
-- | privilege_gained | pid 102 /usr/bin/id | 2026-01-01 12:00:00.700 | HIGH     | 0.8        | 1.0   | 1000.0 | 1000.0      |

-- test: sudo has the set-user-id bit
INSERT INTO processes (observed_at, kind, pid, comm, exe, exe_fs_type, exe_setuid, uid, euid, parent_pid, parent_comm, parent_euid) VALUES
  ('12:00:00.100', 'PROCESS_EVENT_KIND_EXEC', 103, 'sudo', '/usr/bin/sudo', 'ext4', true, 1000, 0, 70, 'sh', 1000);
-- advance: 5m
SELECT detection, entity, time FROM alerts ORDER BY detection, time;
-- | detection | entity | time |
-- |-----------|--------|------|

-- test: what root starts is root
INSERT INTO processes (observed_at, kind, pid, comm, exe, exe_fs_type, uid, euid, parent_pid, parent_comm, parent_euid) VALUES
  ('12:00:00.100', 'PROCESS_EVENT_KIND_EXEC', 104, 'sh', '/usr/bin/dash', 'ext4', 0, 0, 70, 'sh', 0);
-- advance: 5m
SELECT detection, entity, time FROM alerts ORDER BY detection, time;
-- | detection | entity | time |
-- |-----------|--------|------|

-- test: root's child gives its rights away
INSERT INTO processes (observed_at, kind, pid, comm, exe, exe_fs_type, uid, euid, parent_pid, parent_comm, parent_euid) VALUES
  ('12:00:00.100', 'PROCESS_EVENT_KIND_EXEC', 105, 'nginx', '/usr/sbin/nginx', 'ext4', 33, 33, 70, 'sh', 0);
-- advance: 5m
SELECT detection, entity, time FROM alerts ORDER BY detection, time;
-- | detection | entity | time |
-- |-----------|--------|------|

-- test: a parent that was gone before it could be read
INSERT INTO processes (observed_at, kind, pid, comm, exe, exe_fs_type, uid, euid, parent_pid, parent_comm, parent_euid) VALUES
  ('12:00:00.100', 'PROCESS_EVENT_KIND_EXEC', 106, 'sh', '/usr/bin/dash', 'ext4', 0, 0, 70, '', 1000);
-- advance: 5m
SELECT detection, entity, time FROM alerts ORDER BY detection, time;
-- | detection | entity | time |
-- |-----------|--------|------|

-- test: a process that was gone before it could be read
INSERT INTO processes (observed_at, kind, pid, comm, exe, exe_fs_type, uid, euid, parent_pid, parent_comm, parent_euid, unreadable) VALUES
  ('12:00:00.100', 'PROCESS_EVENT_KIND_EXEC', 107, 'sh', '', 'ext4', 0, 0, 70, 'sh', 1000, make_array('exe'));
-- advance: 5m
SELECT detection, entity, time FROM alerts ORDER BY detection, time;
-- | detection | entity | time |
-- |-----------|--------|------|

-- test: a snapshot is no gain
INSERT INTO processes (observed_at, kind, pid, comm, exe, exe_fs_type, uid, euid, parent_pid, parent_comm, parent_euid) VALUES
  ('12:00:00.100', 'PROCESS_EVENT_KIND_SNAPSHOT', 108, 'sh', '/usr/bin/dash', 'ext4', 0, 0, 70, 'sh', 1000);
-- advance: 5m
SELECT detection, entity, time FROM alerts ORDER BY detection, time;
-- | detection | entity | time |
-- |-----------|--------|------|
