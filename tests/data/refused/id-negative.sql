-- inode -5: id is -5, which cannot be
INSERT INTO inodes (id, mode, uid, gid, mtime_ns, atime_ns, ctime_ns) VALUES (-5, 33188, 0, 0, 0, 0, 0);
