-- its table xattrs has a column that is computed
DROP VIEW attributes; DROP VIEW usage; DROP VIEW files; ALTER TABLE xattrs RENAME TO other;
CREATE TABLE xattrs (inode INT, name BLOB, value BLOB AS (zeroblob(100))); INSERT INTO xattrs (inode, name) VALUES (3, CAST('user.a' AS BLOB));
