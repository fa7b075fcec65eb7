-- cannot be: Argument list too long
INSERT INTO xattrs (inode, name, value) VALUES (3, CAST('user.a' AS BLOB), zeroblob(70000));
