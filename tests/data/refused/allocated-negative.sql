-- inode 3: allocated is -5, which cannot be
UPDATE inodes SET allocated = -5 WHERE id = 3;
