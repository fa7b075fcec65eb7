-- "system.posix_acl_access" cannot be
INSERT INTO xattrs (inode, name, value) VALUES (4, CAST('system.posix_acl_access' AS BLOB), x'02000000010006ffffffffff04000400ffffffff20000400ffffffff');
