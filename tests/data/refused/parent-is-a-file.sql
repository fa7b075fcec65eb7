-- inode 4: what it is in, inode 3, is no directory
INSERT INTO contents (name, inode, parent_inode) VALUES (x'61', 4, 3);
