-- another inode has its name in inode 1
INSERT INTO contents (name, inode, parent_inode) VALUES ('link', 3, 1);
