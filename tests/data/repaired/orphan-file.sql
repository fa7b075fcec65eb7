-- 1 without a name
INSERT INTO inodes (id, mode, uid, gid, mtime_ns, atime_ns, ctime_ns, size, allocated) VALUES (10, 33188, 0, 0, 0, 0, 0, 100000, 100000);
INSERT INTO chunks (inode, offset, data) VALUES (10, 0, zeroblob(65536)), (10, 65536, zeroblob(34464));
