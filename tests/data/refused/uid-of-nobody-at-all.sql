-- inode 3: uid is 4294967295, which cannot be
UPDATE inodes SET uid = 4294967295 WHERE id = 3;
