-- 5 without a name
INSERT INTO inodes (id, mode, uid, gid, mtime_ns, atime_ns, ctime_ns, target) VALUES (10, 16877, 0, 0, 0, 0, 0, NULL), (11, 41471, 0, 0, 0, 0, 0, x'61'), (12, 4480, 0, 0, 0, 0, 0, NULL), (13, 49645, 0, 0, 0, 0, 0, NULL), (14, 8630, 0, 0, 0, 0, 0, NULL);
INSERT INTO xattrs (inode, name, value) VALUES (10, CAST('user.a' AS BLOB), x'61');
