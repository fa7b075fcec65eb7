-- a directory that is inside itself
INSERT INTO inodes (id, mode, uid, gid, mtime_ns, atime_ns, ctime_ns) VALUES (10, 16877, 0, 0, 0, 0, 0), (11, 16877, 0, 0, 0, 0, 0), (12, 16877, 0, 0, 0, 0, 0);
INSERT INTO contents (name, inode, parent_inode) VALUES (x'61', 10, 11), (x'61', 11, 12), (x'62', 12, 11);
