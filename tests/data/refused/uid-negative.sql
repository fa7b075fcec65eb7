-- inode 3: uid is -1, which cannot be
UPDATE inodes SET uid = -1 WHERE id = 3;
