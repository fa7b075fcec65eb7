-- it has no table xattrs
DROP VIEW attributes; DROP VIEW usage; DROP VIEW files; ALTER TABLE xattrs RENAME TO other; CREATE VIEW xattrs AS SELECT inode, name, value FROM other;
