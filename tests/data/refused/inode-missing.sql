-- inode 99: it is not there, and has a name in inode 1
INSERT INTO contents (name, inode, parent_inode) VALUES (x'61', 99, 1);
