-- its counters cannot be: next_number -1
UPDATE state SET next_number = -1;
