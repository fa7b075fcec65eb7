-- inode 0: id is 0, which cannot be
INSERT INTO inodes (id, mode, uid, gid, mtime_ns, atime_ns, ctime_ns) VALUES (0, 33188, 0, 0, 0, 0, 0);
