-- no such column: allocated
DROP VIEW usage; DROP VIEW files; DROP VIEW attributes; CREATE TABLE other AS SELECT id, uid, gid, mode, mtime_ns, atime_ns, ctime_ns, target, size, rdev, btime_ns, data FROM inodes; DROP TABLE inodes; ALTER TABLE other RENAME TO inodes;
