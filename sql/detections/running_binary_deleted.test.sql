-- test: a program in memory is seen without its file, again and again
INSERT INTO processes (observed_at, kind, pid, comm, exe, exe_fs_type, exe_deleted, parent_pid, parent_comm, rss_bytes) VALUES
  ('12:00:00.500', 'PROCESS_EVENT_KIND_SNAPSHOT', 111, 'font-update', '/dev/shm/d/font-update', 'tmpfs', true, 1, 'systemd', 4096),
  ('12:00:03.500', 'PROCESS_EVENT_KIND_SNAPSHOT', 111, 'font-update', '/dev/shm/d/font-update', 'tmpfs', true, 1, 'systemd', 4096),
  ('12:00:45.500', 'PROCESS_EVENT_KIND_SNAPSHOT', 111, 'font-update', '/dev/shm/d/font-update', 'tmpfs', true, 1, 'systemd', 4096);
-- advance: 5m
SELECT detection, entity, time, severity, confidence, technique, title, features['seen'] AS seen,
       features['rss_bytes'] AS rss_bytes
FROM alerts ORDER BY detection, time;
-- | detection              | entity                         | time                    | severity | confidence | technique | title                                | seen | rss_bytes |
-- |------------------------|--------------------------------|-------------------------|----------|------------|-----------|--------------------------------------|------|-----------|
-- | running_binary_deleted | pid 111 /dev/shm/d/font-update | 2026-01-01 12:00:00.500 | CRITICAL | 0.95       | T1070.004 | a running program's file was deleted | 1.0  | 4096.0    |

-- test: a program on disk
INSERT INTO processes (observed_at, kind, pid, comm, exe, exe_fs_type, exe_deleted, parent_pid, parent_comm, rss_bytes) VALUES
  ('12:00:12.500', 'PROCESS_EVENT_KIND_SNAPSHOT', 112, 'backdoor', '/usr/local/bin/backdoor', 'ext4', true, 1, 'systemd', 1);
-- advance: 5m
SELECT detection, entity, time, severity, confidence FROM alerts ORDER BY detection, time;
-- | detection              | entity                          | time                    | severity | confidence |
-- |------------------------|---------------------------------|-------------------------|----------|------------|
-- | running_binary_deleted | pid 112 /usr/local/bin/backdoor | 2026-01-01 12:00:12.500 | HIGH     | 0.75       |

-- test: it deletes itself before it runs another program
INSERT INTO processes (observed_at, kind, pid, comm, exe, exe_fs_type, exe_deleted, parent_pid, parent_comm) VALUES
  ('12:00:00.700', 'PROCESS_EVENT_KIND_EXEC', 113, 'stage2', '/opt/stage1', 'ext4', true, 1, 'cron');
-- advance: 5m
SELECT detection, entity, time, severity, confidence, features['seen'] AS seen FROM alerts ORDER BY detection, time;
-- | detection              | entity              | time                    | severity | confidence | seen |
-- |------------------------|---------------------|-------------------------|----------|------------|------|
-- | running_binary_deleted | pid 113 /opt/stage1 | 2026-01-01 12:00:00.700 | HIGH     | 0.75       | 1.0  |

-- test: not seen for more than a minute, then again
INSERT INTO processes (observed_at, kind, pid, comm, exe, exe_fs_type, exe_deleted, parent_pid, parent_comm) VALUES
  ('12:00:00.500', 'PROCESS_EVENT_KIND_SNAPSHOT', 114, 'a', '/opt/a', 'ext4', true, 1, 'systemd'),
  ('12:01:10.500', 'PROCESS_EVENT_KIND_SNAPSHOT', 114, 'a', '/opt/a', 'ext4', true, 1, 'systemd');
-- advance: 5m
SELECT detection, entity, time, severity, confidence FROM alerts ORDER BY detection, time;
-- | detection              | entity         | time                    | severity | confidence |
-- |------------------------|----------------|-------------------------|----------|------------|
-- | running_binary_deleted | pid 114 /opt/a | 2026-01-01 12:00:00.500 | HIGH     | 0.75       |
-- | running_binary_deleted | pid 114 /opt/a | 2026-01-01 12:01:10.500 | HIGH     | 0.75       |

-- test: its file is there
INSERT INTO processes (observed_at, kind, pid, comm, exe, exe_fs_type, exe_deleted, parent_pid, parent_comm) VALUES
  ('12:00:00.500', 'PROCESS_EVENT_KIND_SNAPSHOT', 115, 'sleep', '/usr/bin/sleep', 'ext4', false, 1, 'systemd'),
  ('12:00:03.500', 'PROCESS_EVENT_KIND_SNAPSHOT', 115, 'sleep', '/usr/bin/sleep', 'ext4', false, 1, 'systemd');
-- advance: 5m
SELECT detection, entity, time FROM alerts ORDER BY detection, time;
-- | detection | entity | time |
-- |-----------|--------|------|

-- test: what runs from a memfd never has a file
INSERT INTO processes (observed_at, kind, pid, comm, exe, exe_fs_type, exe_deleted, parent_pid, parent_comm) VALUES
  ('12:00:00.500', 'PROCESS_EVENT_KIND_SNAPSHOT', 116, 'memfd:jit', '/memfd:jit', 'memfd', true, 1, 'systemd');
-- advance: 5m
SELECT detection, entity, time FROM alerts ORDER BY detection, time;
-- | detection | entity | time |
-- |-----------|--------|------|

-- test: only its end is seen, as of a compiler that unpacks itself
INSERT INTO processes (observed_at, kind, pid, comm, exe, exe_fs_type, exe_deleted, parent_pid, parent_comm) VALUES
  ('12:00:00.500', 'PROCESS_EVENT_KIND_EXIT', 117, 'cc1', '/opt/cc1', 'ext4', true, 1, 'systemd');
-- advance: 5m
SELECT detection, entity, time FROM alerts ORDER BY detection, time;
-- | detection | entity | time |
-- |-----------|--------|------|

-- test: a package is upgraded while its program runs, which starts another process before it is started anew
INSERT INTO processes (observed_at, kind, pid, process_key, comm, exe, exe_fs_type, exe_deleted, package, parent_pid, parent_comm) VALUES
  ('12:00:00.500', 'PROCESS_EVENT_KIND_SNAPSHOT', 118, 1181, 'sshd', '/usr/sbin/sshd', 'ext4', false, 'openssh-server', 1, 'init'),
  ('12:00:10.500', 'PROCESS_EVENT_KIND_SNAPSHOT', 118, 1181, 'sshd', '/usr/sbin/sshd', 'ext4', true, '', 1, 'init'),
  ('12:00:12.500', 'PROCESS_EVENT_KIND_FORK', 119, 1191, 'sshd', '/usr/sbin/sshd', 'ext4', true, '', 118, 'sshd'),
  ('12:00:20.500', 'PROCESS_EVENT_KIND_SNAPSHOT', 118, 1181, 'sshd', '/usr/sbin/sshd', 'ext4', true, '', 1, 'init'),
  ('12:00:50.500', 'PROCESS_EVENT_KIND_SNAPSHOT', 118, 1181, 'sshd', '/usr/sbin/sshd', 'ext4', true, '', 1, 'init'),
  ('12:01:30.500', 'PROCESS_EVENT_KIND_SNAPSHOT', 118, 1181, 'sshd', '/usr/sbin/sshd', 'ext4', true, '', 1, 'init');
-- advance: 5m
SELECT detection, entity, time FROM alerts ORDER BY detection, time;
-- | detection | entity | time |
-- |-----------|--------|------|

-- test: another program of a package, another host's, and a file that is no package's
INSERT INTO processes (observed_at, kind, host_id, pid, comm, exe, exe_fs_type, exe_deleted, package, parent_pid, parent_comm) VALUES
  ('12:02:00.500', 'PROCESS_EVENT_KIND_SNAPSHOT', 'a', 120, 'sshd', '/usr/sbin/sshd', 'ext4', false, 'openssh-server', 1, 'init'),
  ('12:02:00.500', 'PROCESS_EVENT_KIND_SNAPSHOT', 'a', 121, 'x', '/usr/sbin/x', 'ext4', false, '', 1, 'init'),
  ('12:02:10.500', 'PROCESS_EVENT_KIND_SNAPSHOT', 'a', 121, 'x', '/usr/sbin/x', 'ext4', true, '', 1, 'init'),
  ('12:02:10.500', 'PROCESS_EVENT_KIND_SNAPSHOT', 'b', 122, 'sshd', '/usr/sbin/sshd', 'ext4', true, '', 1, 'init');
-- advance: 5m
SELECT host_id, entity, time FROM alerts ORDER BY host_id, time;
-- | host_id | entity                 | time                    |
-- |---------|------------------------|-------------------------|
-- | a       | pid 121 /usr/sbin/x    | 2026-01-01 12:02:10.500 |
-- | b       | pid 122 /usr/sbin/sshd | 2026-01-01 12:02:10.500 |
