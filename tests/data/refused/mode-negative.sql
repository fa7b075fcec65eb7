-- inode 3: mode is -1, which cannot be
UPDATE inodes SET mode = -1 WHERE id = 3;
