-- rdev is 4294967296, which cannot be
UPDATE inodes SET rdev = 4294967296, mode = 8630 WHERE id = 3;
