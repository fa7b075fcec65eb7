-- inode 3: there are two of it
DROP VIEW usage; DROP VIEW files; DROP VIEW attributes; CREATE TABLE other AS SELECT * FROM inodes; INSERT INTO other SELECT * FROM inodes WHERE id = 3; DROP TABLE inodes; ALTER TABLE other RENAME TO inodes;
