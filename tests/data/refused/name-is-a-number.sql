-- inode 3: a name of it is a number
INSERT INTO contents (name, inode, parent_inode) VALUES (7, 3, 1);
