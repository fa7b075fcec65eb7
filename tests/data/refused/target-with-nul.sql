-- inode 4: the target of the symbolic link has a NUL in it
UPDATE inodes SET target = x'610062' WHERE id = 4;
