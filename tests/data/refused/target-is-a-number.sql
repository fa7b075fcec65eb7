-- inode 4: its target is a number
UPDATE inodes SET target = 12 WHERE id = 4;
