-- inode 2: a directory with two names, in the inodes 1 and 1
INSERT INTO contents (name, inode, parent_inode) VALUES (x'61', 2, 1);
