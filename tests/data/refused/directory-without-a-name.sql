-- inode 2: a directory that has no name, and is not empty
DELETE FROM contents WHERE inode = 2;
