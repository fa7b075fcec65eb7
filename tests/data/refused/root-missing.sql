-- there is no root directory
DELETE FROM contents; DELETE FROM inodes WHERE id = 1;
