-- "system.posix_acl_default" cannot be
INSERT INTO xattrs (inode, name, value) VALUES (3, CAST('system.posix_acl_default' AS BLOB), x'0200000001000600ffffffff04000400ffffffff20000400ffffffff');
