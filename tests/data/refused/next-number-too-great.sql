-- its counters cannot be: next_number 9223372036854775807
UPDATE state SET next_number = 9223372036854775807;
