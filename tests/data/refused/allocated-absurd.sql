-- it takes more than the 1073741824 bytes that are allowed
UPDATE inodes SET allocated = 9223372036854775807 WHERE id = 3;
