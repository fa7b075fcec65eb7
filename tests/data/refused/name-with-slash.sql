-- inode 3: a name of it has a slash in it
INSERT INTO contents (name, inode, parent_inode) VALUES (CAST('../../etc/passwd' AS BLOB), 3, 1);
