-- inode 3: its data is a number
UPDATE inodes SET data = 12 WHERE id = 3;
