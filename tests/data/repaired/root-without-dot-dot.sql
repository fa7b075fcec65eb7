-- 0 without a name
DELETE FROM contents WHERE inode = 1;
