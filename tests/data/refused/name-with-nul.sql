-- inode 3: a name of it has a NUL in it
INSERT INTO contents (name, inode, parent_inode) VALUES (x'610062', 3, 1);
