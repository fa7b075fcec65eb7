-- inode 3: the extended attribute "colour" cannot be
INSERT INTO xattrs (inode, name, value) VALUES (3, CAST('colour' AS BLOB), x'61');
