-- inode 3: size is -1, which cannot be
UPDATE inodes SET size = -1 WHERE id = 3;
