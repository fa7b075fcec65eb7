-- id is 9223372036854775807, which cannot be
INSERT INTO inodes (id, mode, uid, gid, mtime_ns, atime_ns, ctime_ns) VALUES (9223372036854775807, 33188, 0, 0, 0, 0, 0);
