-- 1 without a name
INSERT INTO inodes (id, mode, uid, gid, mtime_ns, atime_ns, ctime_ns) VALUES (10, 16877, 0, 0, 0, 0, 0);
