-- inode 3: mode 0644 is of no type
UPDATE inodes SET mode = 420 WHERE id = 3;
