-- inode 3: a name of it is longer than 255 bytes
INSERT INTO contents (name, inode, parent_inode) VALUES (CAST(printf('%.*c', 256, 'x') AS BLOB), 3, 1);
