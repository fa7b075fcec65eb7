-- 0 without a name
UPDATE inodes SET mtime_ns = -9223372036854775808, ctime_ns = 9223372036854775807, btime_ns = NULL;
