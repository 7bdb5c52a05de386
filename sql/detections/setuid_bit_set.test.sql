-- test: by a user, and by root through a descriptor
INSERT INTO syscalls (observed_at, syscall, pid, process_key, comm, uid, euid, result, error, path, fd, mode) VALUES
  ('12:00:00.100', 'SYSCALL_FCHMODAT', 131, 1311, 'chmod', 1000, 1000, 0, '', '/home/u/sh', NULL, 2541),
  ('12:00:00.200', 'SYSCALL_FCHMOD', 132, 1321, 'python3', 0, 0, 0, '', '', 3, 2541);
-- advance: 5m
SELECT detection, entity, time, severity, technique FROM alerts ORDER BY time, entity;
-- | detection      | entity                         | time                    | severity | technique |
-- |----------------|--------------------------------|-------------------------|----------|-----------|
-- | setuid_bit_set | chmod (pid 131) /home/u/sh     | 2026-01-01 12:00:00.100 | HIGH     | T1548.001 |
-- | setuid_bit_set | python3 (pid 132) descriptor 3 | 2026-01-01 12:00:00.200 | HIGH     | T1548.001 |

-- test: it fails, and the bit of the group and other bits
INSERT INTO syscalls (observed_at, syscall, pid, process_key, comm, uid, euid, result, error, path, fd, mode) VALUES
  ('12:01:00.100', 'SYSCALL_FCHMODAT', 133, 1331, 'chmod', 1000, 1000, -1, 'EPERM', '/usr/bin/sh', NULL, 2541),
  ('12:01:00.200', 'SYSCALL_CHMOD', 134, 1341, 'chmod', 1000, 1000, 0, '', '/home/u/x', NULL, 1517),
  ('12:01:00.300', 'SYSCALL_CHMOD', 134, 1341, 'chmod', 1000, 1000, 0, '', '/home/u/x', NULL, 493);
-- advance: 5m
SELECT detection, entity, time, severity, technique FROM alerts ORDER BY time, entity;
-- | detection | entity | time | severity | technique |
-- |-----------|--------|------|----------|-----------|

-- test: a package with such a program is installed
INSERT INTO syscalls (observed_at, syscall, pid, process_key, comm, uid, euid, result, error, path, fd, mode) VALUES
  ('12:02:00.100', 'SYSCALL_FCHMOD', 135, 1351, 'dpkg', 0, 0, 0, '', '', 9, 2541);
-- advance: 5m
SELECT detection, entity, time, severity, technique FROM alerts ORDER BY time, entity;
-- | detection | entity | time | severity | technique |
-- |-----------|--------|------|----------|-----------|

-- test: a package's script does so with a file that came with the package
INSERT INTO syscalls (observed_at, syscall, pid, process_key, comm, uid, euid, result, error, path, other_path, fd, mode) VALUES
  ('12:03:00.100', 'SYSCALL_RENAME', 136, 1361, 'dpkg', 0, 0, 0, '', '/usr/bin/queue.dpkg-new', '/usr/bin/queue', NULL, NULL),
  ('12:03:00.200', 'SYSCALL_RENAME', 136, 1361, 'dpkg', 0, 0, 0, '', '/bin/fusermount3.dpkg-new', '/bin/fusermount3', NULL, NULL),
  ('12:03:09.100', 'SYSCALL_FCHMODAT', 137, 1371, 'chmod', 0, 0, 0, '', '/usr/bin/queue', '', NULL, 2541),
  ('12:06:00.100', 'SYSCALL_FCHMODAT', 138, 1381, 'chmod', 0, 0, 0, '', '/usr/bin/fusermount3', '', NULL, 2541);
-- advance: 15m
SELECT detection, entity, time, severity, technique FROM alerts ORDER BY time, entity;
-- | detection | entity | time | severity | technique |
-- |-----------|--------|------|----------|-----------|

-- test: another file than came, long after it came, and what only looks as if it came
INSERT INTO syscalls (observed_at, syscall, pid, process_key, comm, uid, euid, result, error, path, other_path, fd, mode) VALUES
  ('12:20:00.100', 'SYSCALL_RENAME', 139, 1391, 'dpkg', 0, 0, 0, '', '/usr/bin/queue.dpkg-new', '/usr/bin/queue', NULL, NULL),
  ('12:20:01.100', 'SYSCALL_FCHMODAT', 140, 1401, 'chmod', 0, 0, 0, '', '/usr/bin/bash', '', NULL, 2541),
  ('12:20:02.100', 'SYSCALL_RENAME', 141, 1411, 'mv', 0, 0, 0, '', '/usr/bin/x.dpkg-new', '/usr/bin/x', NULL, NULL),
  ('12:20:03.100', 'SYSCALL_FCHMODAT', 142, 1421, 'chmod', 0, 0, 0, '', '/usr/bin/x', '', NULL, 2541),
  ('12:27:00.100', 'SYSCALL_FCHMODAT', 143, 1431, 'chmod', 0, 0, 0, '', '/usr/bin/queue', '', NULL, 2541);
-- advance: 15m
SELECT entity, time FROM alerts ORDER BY time, entity;
-- | entity                         | time                    |
-- |--------------------------------|-------------------------|
-- | chmod (pid 140) /usr/bin/bash  | 2026-01-01 12:20:01.100 |
-- | chmod (pid 142) /usr/bin/x     | 2026-01-01 12:20:03.100 |
-- | chmod (pid 143) /usr/bin/queue | 2026-01-01 12:27:00.100 |
