-- a name of it, or its parent, has the wrong type
INSERT INTO contents (name, inode, parent_inode) VALUES (x'61', 4, 'root');
