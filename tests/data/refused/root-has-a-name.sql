-- the root has a name, in inode 2
INSERT INTO contents (name, inode, parent_inode) VALUES (x'61', 1, 2);
