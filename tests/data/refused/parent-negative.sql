-- inode 4: the directory that it is in
INSERT INTO contents (name, inode, parent_inode) VALUES (x'61', 4, -1);
