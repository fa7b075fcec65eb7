-- inode 3: size is no integer
UPDATE inodes SET size = 'much' WHERE id = 3;
