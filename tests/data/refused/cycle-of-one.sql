-- inode 2: a directory that is inside itself
UPDATE contents SET parent_inode = 2 WHERE inode = 2;
