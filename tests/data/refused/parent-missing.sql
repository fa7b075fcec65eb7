-- inode 3: the directory that it is in, inode 77, is not there
INSERT INTO contents (name, inode, parent_inode) VALUES (x'61', 3, 77);
