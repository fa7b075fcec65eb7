-- 0 without a name
UPDATE inodes SET size = 9223372036854775807 WHERE id = 3;
