-- 0 without a name
UPDATE contents SET name = CAST(name AS TEXT) WHERE inode <> 1; UPDATE inodes SET target = CAST(target AS TEXT);
