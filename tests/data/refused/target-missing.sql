-- inode 4: a symbolic link without a target
UPDATE inodes SET target = NULL WHERE id = 4;
