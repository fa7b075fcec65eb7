-- another inode has its name in inode 1
DROP INDEX contents_name; INSERT INTO contents (name, inode, parent_inode) VALUES (CAST('link' AS BLOB), 3, 1);
