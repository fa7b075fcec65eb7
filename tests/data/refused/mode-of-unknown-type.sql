-- is of no type
UPDATE inodes SET mode = 57344 + 420 WHERE id = 3;
