-- inode 3: gid is 4294967296, which cannot be
UPDATE inodes SET gid = 4294967296 WHERE id = 3;
