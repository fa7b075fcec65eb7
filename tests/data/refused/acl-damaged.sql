-- "system.posix_acl_access" cannot be: Invalid argument
INSERT INTO xattrs (inode, name, value) VALUES (3, CAST('system.posix_acl_access' AS BLOB), x'0200000001');
