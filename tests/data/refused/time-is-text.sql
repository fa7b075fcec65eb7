-- inode 3: mtime_ns is no integer
UPDATE inodes SET mtime_ns = 'yesterday' WHERE id = 3;
