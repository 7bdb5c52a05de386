-- test: a job of cron, and a unit of systemd that is renamed into its place
INSERT INTO syscalls (observed_at, syscall, pid, process_key, comm, uid, euid, result, error, path, other_path, flags) VALUES
  ('12:00:00.100', 'SYSCALL_OPENAT', 151, 1511, 'sh', 0, 0, 3, '', '/etc/cron.d/x', '', 'O_WRONLY|O_CREAT|O_TRUNC'),
  ('12:00:00.300', 'SYSCALL_RENAME', 152, 1521, 'mv', 0, 0, 0, '', '/tmp/x.service', '/etc/systemd/system/x.service', '');
-- advance: 5m
SELECT detection, entity, time, severity, technique FROM alerts ORDER BY time, entity;
-- | detection                | entity                                           | time                    | severity | technique           |
-- |--------------------------|--------------------------------------------------|-------------------------|----------|---------------------|
-- | persistence_file_written | sh (pid 151) wrote /etc/cron.d/x                 | 2026-01-01 12:00:00.100 | HIGH     | T1053.003,T1543.002 |
-- | persistence_file_written | mv (pid 152) wrote /etc/systemd/system/x.service | 2026-01-01 12:00:00.300 | HIGH     | T1053.003,T1543.002 |

-- test: a user's own unit
INSERT INTO syscalls (observed_at, syscall, pid, process_key, comm, uid, euid, result, error, path, other_path, flags) VALUES
  ('12:01:00.100', 'SYSCALL_OPENAT', 153, 1531, 'bash', 1000, 1000, 3, '', '/home/u/.config/systemd/user/x.service', '', 'O_WRONLY|O_CREAT|O_APPEND');
-- advance: 5m
SELECT detection, entity, time, severity, technique FROM alerts ORDER BY time, entity;
-- | detection                | entity                                                      | time                    | severity | technique           |
-- |--------------------------|-------------------------------------------------------------|-------------------------|----------|---------------------|
-- | persistence_file_written | bash (pid 153) wrote /home/u/.config/systemd/user/x.service | 2026-01-01 12:01:00.100 | HIGH     | T1053.003,T1543.002 |

-- test: it is read, may not be written, or is elsewhere
INSERT INTO syscalls (observed_at, syscall, pid, process_key, comm, uid, euid, result, error, path, other_path, flags) VALUES
  ('12:02:00.100', 'SYSCALL_OPENAT', 154, 1541, 'cat', 1000, 1000, 3, '', '/etc/cron.d/x', '', 'O_RDONLY'),
  ('12:02:00.200', 'SYSCALL_OPENAT', 154, 1541, 'sh', 1000, 1000, -13, 'EACCES', '/etc/cron.d/x', '', 'O_WRONLY|O_CREAT'),
  ('12:02:00.300', 'SYSCALL_OPENAT', 154, 1541, 'sh', 1000, 1000, 3, '', '/etc/crypttab', '', 'O_WRONLY|O_CREAT');
-- advance: 5m
SELECT detection, entity, time, severity, technique FROM alerts ORDER BY time, entity;
-- | detection | entity | time | severity | technique |
-- |-----------|--------|------|----------|-----------|

-- test: a package brings a timer, and a user edits the own jobs
INSERT INTO syscalls (observed_at, syscall, pid, process_key, comm, uid, euid, result, error, path, other_path, flags) VALUES
  ('12:03:00.100', 'SYSCALL_RENAME', 155, 1551, 'dpkg', 0, 0, 0, '', '/usr/lib/systemd/system/x.timer.dpkg-new', '/usr/lib/systemd/system/x.timer', ''),
  ('12:03:00.200', 'SYSCALL_OPENAT', 156, 1561, 'crontab', 0, 0, 3, '', '/var/spool/cron/crontabs/tmp.x', '', 'O_RDWR|O_CREAT|O_EXCL');
-- advance: 5m
SELECT detection, entity, time, severity, technique FROM alerts ORDER BY time, entity;
-- | detection | entity | time | severity | technique |
-- |-----------|--------|------|----------|-----------|

-- test: a package's own script, and a job for at
INSERT INTO syscalls (observed_at, syscall, pid, process_key, comm, uid, euid, result, error, path, other_path, flags) VALUES
  ('12:04:00.100', 'SYSCALL_EXECVE', 157, 1571, 'x.postinst', 0, 0, 0, '', '/var/lib/dpkg/info/x.postinst', '', ''),
  ('12:04:00.200', 'SYSCALL_OPENAT', 157, 1571, 'x.postinst', 0, 0, 3, '', '/etc/cron.d/x', '', 'O_WRONLY|O_CREAT|O_TRUNC'),
  ('12:04:10.100', 'SYSCALL_EXECVE', 158, 1581, 'at', 1000, 1, 0, '', '/usr/bin/at', '', ''),
  ('12:04:10.200', 'SYSCALL_OPENAT', 158, 1581, 'at', 1000, 1000, 4, '', '/var/spool/cron/atjobs/a0000101', '', 'O_WRONLY|O_CREAT|O_EXCL');
-- advance: 5m
SELECT detection, entity, time, severity, technique FROM alerts ORDER BY time, entity;
-- | detection | entity | time | severity | technique |
-- |-----------|--------|------|----------|-----------|

-- test: such names from elsewhere, and a script that goes on as another program
INSERT INTO syscalls (observed_at, syscall, pid, process_key, comm, uid, euid, result, error, path, other_path, flags) VALUES
  ('12:05:00.100', 'SYSCALL_EXECVE', 159, 1591, 'dpkg', 0, 0, 0, '', '/usr/../tmp/dpkg', '', ''),
  ('12:05:00.200', 'SYSCALL_OPENAT', 159, 1591, 'dpkg', 0, 0, 3, '', '/etc/cron.d/x', '', 'O_WRONLY|O_CREAT|O_TRUNC'),
  ('12:05:10.100', 'SYSCALL_EXECVE', 160, 1601, 'x.postinst', 0, 0, 0, '', '/home/u/x.postinst', '', ''),
  ('12:05:10.200', 'SYSCALL_OPENAT', 160, 1601, 'x.postinst', 0, 0, 3, '', '/etc/cron.d/y', '', 'O_WRONLY|O_CREAT|O_TRUNC'),
  ('12:05:20.100', 'SYSCALL_EXECVE', 161, 1611, 'x.postinst', 0, 0, 0, '', '/var/lib/dpkg/info/x.postinst', '', ''),
  ('12:05:20.200', 'SYSCALL_EXECVE', 161, 1611, 'tee', 0, 0, 0, '', '/usr/bin/tee', '', ''),
  ('12:05:20.300', 'SYSCALL_OPENAT', 161, 1611, 'tee', 0, 0, 3, '', '/etc/cron.d/z', '', 'O_WRONLY|O_CREAT|O_TRUNC');
-- advance: 5m
SELECT entity, time FROM alerts ORDER BY time, entity;
-- | entity                                   | time                    |
-- |------------------------------------------|-------------------------|
-- | dpkg (pid 159) wrote /etc/cron.d/x       | 2026-01-01 12:05:00.200 |
-- | x.postinst (pid 160) wrote /etc/cron.d/y | 2026-01-01 12:05:10.200 |
-- | tee (pid 161) wrote /etc/cron.d/z        | 2026-01-01 12:05:20.300 |
