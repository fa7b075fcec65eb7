-- its counters cannot be
UPDATE state SET generation = -1;
