-- test: identity, lineage and login of programs that no package owns
INSERT INTO started (observed_at, kind, exe, process_key, package, login_uid, tty, ancestors, environment, masked) VALUES
  ('12:00:00', 'PROCESS_EVENT_KIND_EXEC', '/tmp/x', 77, '', 1000, 'pts/3', ['/bin/bash', '/usr/sbin/sshd'],
   MAP {'LD_PRELOAD': '/tmp/y.so'}, ['cmdline']),
  ('12:00:01', 'PROCESS_EVENT_KIND_EXEC', '/tmp/z', 78, '', NULL, '', [], MAP {}, []),
  ('12:00:02', 'PROCESS_EVENT_KIND_EXEC', '/bin/ls', 79, 'coreutils', 1000, 'pts/3', ['/bin/bash'], MAP {}, []);
SELECT * FROM out_lineage;
-- | process      | login_uid | tty   | parent    | by_ssh | preload   | masked    |
-- |--------------|-----------|-------|-----------|--------|-----------|-----------|
-- | host boot 77 | 1000      | pts/3 | /bin/bash | true   | /tmp/y.so | [cmdline] |
-- | host boot 78 | null      |       | null      | false  | null      | []        |
