-- inode 4: the target of the symbolic link is longer than 4095 bytes
UPDATE inodes SET target = CAST(printf('%.*c', 4096, 'x') AS BLOB) WHERE id = 4;
