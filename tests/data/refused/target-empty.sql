-- inode 4: a symbolic link without a target
UPDATE inodes SET target = x'' WHERE id = 4;
