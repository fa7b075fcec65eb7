-- inode 3: an extended attribute has the wrong types
INSERT INTO xattrs (inode, name, value) VALUES (3, CAST('user.a' AS BLOB), 5);
