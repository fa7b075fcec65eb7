-- inode 3: size is no integer
UPDATE inodes SET size = 1e30 WHERE id = 3;
