-- inode 3: a name of it is "."
INSERT INTO contents (name, inode, parent_inode) VALUES (x'2e', 3, 2);
