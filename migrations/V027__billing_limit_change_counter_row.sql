-- The counter's one row. IGNORE, as in all seeds: a run that was killed after the row, before its record, is run again.
INSERT IGNORE INTO billing_limit_change_counter (id, last_sequence_no) VALUES (1, 0);
