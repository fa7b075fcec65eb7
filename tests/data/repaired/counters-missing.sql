-- 0 without a name
DELETE FROM state;
