-- inode 3: mode is 4294967295, which cannot be
UPDATE inodes SET mode = 4294967295 WHERE id = 3;
