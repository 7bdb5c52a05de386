-- test: a program of root reads the hashes
INSERT INTO syscalls (observed_at, syscall, pid, process_key, comm, uid, euid, result, error, path, flags) VALUES
  ('12:00:00.100', 'SYSCALL_OPENAT', 161, 1611, 'cat', 0, 0, 3, '', '/etc/shadow', 'O_RDONLY');
-- advance: 5m
SELECT detection, entity, time, severity, technique FROM alerts ORDER BY time, entity;
-- | detection        | entity                         | time                    | severity | technique |
-- |------------------|--------------------------------|-------------------------|----------|-----------|
-- | credentials_read | cat (pid 161) read /etc/shadow | 2026-01-01 12:00:00.100 | HIGH     | T1003.008 |

-- test: it may not, or looks at another file
INSERT INTO syscalls (observed_at, syscall, pid, process_key, comm, uid, euid, result, error, path, flags) VALUES
  ('12:01:00.100', 'SYSCALL_OPENAT', 162, 1621, 'cat', 1000, 1000, -13, 'EACCES', '/etc/shadow', 'O_RDONLY'),
  ('12:01:00.200', 'SYSCALL_OPENAT', 162, 1621, 'cat', 1000, 1000, 3, '', '/etc/passwd', 'O_RDONLY');
-- advance: 5m
SELECT detection, entity, time, severity, technique FROM alerts ORDER BY time, entity;
-- | detection | entity | time | severity | technique |
-- |-----------|--------|------|----------|-----------|

-- test: somebody logs in
INSERT INTO syscalls (observed_at, syscall, pid, process_key, comm, uid, euid, result, error, path, flags) VALUES
  ('12:02:00.100', 'SYSCALL_OPENAT', 163, 1631, 'sshd', 0, 0, 3, '', '/etc/shadow', 'O_RDONLY|O_CLOEXEC'),
  ('12:02:00.200', 'SYSCALL_OPENAT', 164, 1641, 'sudo', 0, 0, 3, '', '/etc/shadow', 'O_RDONLY|O_CLOEXEC');
-- advance: 5m
SELECT detection, entity, time, severity, technique FROM alerts ORDER BY time, entity;
-- | detection | entity | time | severity | technique |
-- |-----------|--------|------|----------|-----------|

-- test: who works as a user's set-user-id program, the package manager's scripts that look users up, and a backup of the host's own
INSERT INTO syscalls (observed_at, syscall, pid, process_key, comm, uid, euid, result, error, path, flags) VALUES
  ('12:03:00.100', 'SYSCALL_EXECVE', 165, 1651, 'sg', 1000, 0, 0, '', '/usr/bin/sg', ''),
  ('12:03:00.200', 'SYSCALL_OPENAT', 165, 1651, 'sg', 1000, 0, 3, '', '/etc/gshadow', 'O_RDONLY|O_CLOEXEC'),
  ('12:03:00.300', 'SYSCALL_OPENAT', 165, 1651, 'sg', 1000, 0, 3, '', '/etc/shadow', 'O_RDONLY|O_CLOEXEC'),
  ('12:03:10.100', 'SYSCALL_EXECVE', 166, 1661, 'dpkg-preconfigu', 0, 0, 0, '', '/usr/sbin/dpkg-preconfigure', ''),
  ('12:03:10.200', 'SYSCALL_OPENAT', 166, 1661, 'dpkg-preconfigu', 0, 0, 4, '', '/etc/shadow', 'O_RDONLY|O_CLOEXEC'),
  ('12:03:20.100', 'SYSCALL_EXECVE', 167, 1671, 'x.postinst', 0, 0, 0, '', '/var/lib/dpkg/info/x.postinst', ''),
  ('12:03:20.200', 'SYSCALL_EXECVE', 167, 1671, 'frontend', 0, 0, 0, '', '/usr/share/debconf/frontend', ''),
  ('12:03:20.300', 'SYSCALL_OPENAT', 167, 1671, 'frontend', 0, 0, 4, '', '/etc/shadow', 'O_RDONLY|O_CLOEXEC'),
  ('12:03:30.100', 'SYSCALL_EXECVE', 168, 1681, 'cp', 0, 0, 0, '', '/usr/bin/cp', ''),
  ('12:03:30.200', 'SYSCALL_OPENAT', 168, 1681, 'cp', 0, 0, 3, '', '/var/backups/nightly/', 'O_RDONLY|O_DIRECTORY|O_PATH'),
  ('12:03:30.300', 'SYSCALL_OPENAT', 168, 1681, 'cp', 0, 0, 4, '', '/etc/shadow', 'O_RDONLY|O_NOFOLLOW');
-- advance: 5m
SELECT detection, entity, time, severity, technique FROM alerts ORDER BY time, entity;
-- | detection | entity | time | severity | technique |
-- |-----------|--------|------|----------|-----------|

-- test: the names of those who may, from elsewhere
INSERT INTO syscalls (observed_at, syscall, pid, process_key, comm, uid, euid, result, error, path, flags) VALUES
  ('12:04:00.100', 'SYSCALL_EXECVE', 169, 1691, 'sshd', 0, 0, 0, '', '/usr/../tmp/sshd', ''),
  ('12:04:00.200', 'SYSCALL_OPENAT', 169, 1691, 'sshd', 0, 0, 3, '', '/etc/shadow', 'O_RDONLY'),
  ('12:04:10.100', 'SYSCALL_EXECVE', 170, 1701, 'rootsh', 1000, 0, 0, '', '/home/u/rootsh', ''),
  ('12:04:10.200', 'SYSCALL_OPENAT', 170, 1701, 'rootsh', 1000, 0, 3, '', '/etc/shadow', 'O_RDONLY'),
  ('12:04:20.100', 'SYSCALL_EXECVE', 171, 1711, 'x.postinst', 0, 0, 0, '', '/tmp/var/lib/dpkg/info/x.postinst', ''),
  ('12:04:20.200', 'SYSCALL_OPENAT', 171, 1711, 'x.postinst', 0, 0, 3, '', '/etc/shadow', 'O_RDONLY'),
  ('12:04:20.300', 'SYSCALL_OPENAT', 171, 1711, 'x.postinst', 0, 0, 3, '', '/etc/gshadow', 'O_RDONLY'),
  ('12:04:30.100', 'SYSCALL_EXECVE', 172, 1721, 'cp', 0, 0, 0, '', '/usr/bin/cp', ''),
  ('12:04:30.200', 'SYSCALL_OPENAT', 172, 1721, 'cp', 0, 0, 3, '', '/tmp/backups/', 'O_RDONLY|O_DIRECTORY|O_PATH'),
  ('12:04:30.300', 'SYSCALL_OPENAT', 172, 1721, 'cp', 0, 0, 4, '', '/etc/shadow', 'O_RDONLY|O_NOFOLLOW'),
  ('12:04:40.100', 'SYSCALL_EXECVE', 173, 1731, 'grep', 0, 0, 0, '', '/usr/bin/grep', ''),
  ('12:04:40.200', 'SYSCALL_OPENAT', 173, 1731, 'grep', 0, 0, 3, '', '/var/backups/nightly/', 'O_RDONLY|O_DIRECTORY'),
  ('12:04:40.300', 'SYSCALL_OPENAT', 173, 1731, 'grep', 0, 0, 4, '', '/etc/shadow', 'O_RDONLY');
-- advance: 5m
SELECT entity, time FROM alerts ORDER BY time, entity;
-- | entity                                                 | time                    |
-- |--------------------------------------------------------|-------------------------|
-- | sshd (pid 169) read /etc/shadow                        | 2026-01-01 12:04:00.200 |
-- | rootsh (pid 170) read /etc/shadow                      | 2026-01-01 12:04:10.200 |
-- | x.postinst (pid 171) read /etc/gshadow and /etc/shadow | 2026-01-01 12:04:20.300 |
-- | cp (pid 172) read /etc/shadow                          | 2026-01-01 12:04:30.300 |
-- | grep (pid 173) read /etc/shadow                        | 2026-01-01 12:04:40.300 |
