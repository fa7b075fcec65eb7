-- 0 without a name
UPDATE state SET next_number = 2;
