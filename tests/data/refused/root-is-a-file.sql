-- inode 1 is the root, and no directory
UPDATE inodes SET mode = 33188 WHERE id = 1;
