-- an extended attribute has a name that cannot be
INSERT INTO xattrs (inode, name, value) VALUES (3, x'757365722e6100', x'61');
