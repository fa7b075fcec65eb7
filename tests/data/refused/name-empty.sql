-- inode 3: a name of it is empty
INSERT INTO contents (name, inode, parent_inode) VALUES (x'', 3, 1);
