-- cannot be: Numerical result out of range
INSERT INTO xattrs (inode, name, value) VALUES (3, CAST('user.' || printf('%.*c', 300, 'x') AS BLOB), x'61');
