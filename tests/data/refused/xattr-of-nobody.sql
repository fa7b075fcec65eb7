-- inode 99: it is not there, and has an extended attribute
INSERT INTO xattrs (inode, name, value) VALUES (99, CAST('user.a' AS BLOB), x'61');
